//! What takes long and tells little that CI's tests do not: the same scenarios on clusters of other shapes, and the budgets.

mod scale;
mod services;
mod up;
