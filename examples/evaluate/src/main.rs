//! Accuracy of the example networks, by an ndarray forward pass; not part of the product.
fn main() {}
