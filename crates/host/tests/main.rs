//! The host against the running kernel. One binary, one module per subject.

#[cfg(test)]
mod conntrack;
#[cfg(test)]
mod faults;
#[cfg(test)]
mod machine;
#[cfg(test)]
mod netns;
#[cfg(test)]
mod nft;
#[cfg(test)]
mod observe;
#[cfg(test)]
mod place;
#[cfg(test)]
mod rtnl;
#[cfg(test)]
mod store;
