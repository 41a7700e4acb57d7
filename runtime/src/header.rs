//! Safetensors headers.
