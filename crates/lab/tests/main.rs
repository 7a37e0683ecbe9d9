//! The laboratory's own tests: the environment itself, without any program of Podwire.

#[cfg(test)]
mod calls;
#[cfg(test)]
mod environment;
#[cfg(test)]
mod firewalls;
#[cfg(test)]
mod machines;
#[cfg(test)]
mod network;
