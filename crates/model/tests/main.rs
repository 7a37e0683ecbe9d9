//! The model against input that nobody should send. One binary, one module per subject.

#[cfg(test)]
mod hostile;
