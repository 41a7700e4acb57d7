//! The reference interpreter of tensor IR: f64, naive, obviously right.
