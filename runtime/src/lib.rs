//! Streams checkpoints through compiled kernels to disk.
