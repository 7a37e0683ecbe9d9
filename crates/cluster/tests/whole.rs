//! What takes long and tells little that CI's tests do not: more of the same scenarios, clusters of other shapes, and the
//! budgets.

mod endure;
mod install;
mod scale;
mod services;
mod up;
