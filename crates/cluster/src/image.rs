//! Makes the images that the cluster runs, as OCI archives.
//!
//! Each is `images/NAME.tar`, and `images/NAME.name` holds the name under which pods ask for it.

use std::path::Path;

use anyhow::{Result, bail};

use crate::Place;

/// Makes every image of others that is not there yet or is older than the programs in it.
///
/// # Errors
/// When a program is missing, with the command that brings it.
pub fn others(_place: &Place) -> Result<()> {
    bail!("the images cannot be made yet")
}

/// Makes Podwire's image of the programs in `bin`, as deploy/Containerfile does, unless it is there with the same content.
///
/// # Errors
/// When a program is missing, with the command that brings it.
pub fn podwire(_place: &Place, _bin: &Path) -> Result<()> {
    bail!("the image cannot be made yet")
}
