//! The laboratory's tests: the environment itself, and the scenarios that run the real programs in it.

#[cfg(test)]
mod calls;
#[cfg(test)]
mod demo;
#[cfg(test)]
mod deploy;
#[cfg(test)]
mod environment;
#[cfg(test)]
mod firewalls;
#[cfg(test)]
mod hostile;
#[cfg(test)]
mod machines;
#[cfg(test)]
mod network;
#[cfg(test)]
mod node;
#[cfg(test)]
mod plugin;
#[cfg(test)]
mod ports;
#[cfg(test)]
mod reclaim;
