//! Optimises tensor IR, fuses it into kernels and schedules a plan.
