//! Puts a program where others start it, while they do.
//!
//! By rename: a call that runs keeps the old file, the next one gets the whole new one, and at no time is there none or half
//! of one. Writing into the file itself would fail while it runs (`ETXTBSY`, execve(2)).

use crate::error::Error;
use std::fs::{self, File, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

const EXECUTABLE: u32 = 0o755;

/// Copies a program to its place unless an equal one is there; says whether it did.
///
/// # Errors
/// The program cannot be read, or the place not be written.
pub fn put(program: &Path, place: &Path) -> Result<bool, Error> {
    let bytes = fs::read(program)
        .map_err(|error| Error::io(format!("read {}", program.display()), &error))?;
    if is_there(place, &bytes) {
        return Ok(false);
    }
    write(place, &bytes)
        .map_err(|error| Error::io(format!("write {}", place.display()), &error))?;
    Ok(true)
}

fn is_there(place: &Path, bytes: &[u8]) -> bool {
    let mode = fs::metadata(place).map(|there| there.permissions().mode());
    mode.is_ok_and(|mode| mode & EXECUTABLE == EXECUTABLE)
        && fs::read(place).is_ok_and(|there| there == bytes)
}

fn write(place: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = place.parent().unwrap_or_else(|| Path::new("/"));
    fs::create_dir_all(folder)?;
    // Runtimes look plugins up by name: this one is nobody's.
    let unfinished = place.with_extension("unfinished");
    let mut file = File::create(&unfinished)?;
    file.write_all(bytes)?;
    file.set_permissions(Permissions::from_mode(EXECUTABLE))?;
    file.sync_all()?;
    drop(file);
    fs::rename(&unfinished, place)?;
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_replaced_whole_and_an_equal_one_is_left_alone() {
        let folder = std::env::temp_dir().join(format!("podwire-program-{}", std::process::id()));
        let (program, place) = (folder.join("program"), folder.join("bin/podwire"));
        fs::create_dir_all(&folder).unwrap();
        for text in ["one", "two"] {
            fs::write(&program, text).unwrap();
            assert!(put(&program, &place).unwrap());
            assert!(!put(&program, &place).unwrap());
            assert_eq!(fs::read_to_string(&place).unwrap(), text);
        }
        fs::set_permissions(&place, Permissions::from_mode(0o644)).unwrap();
        assert!(
            put(&program, &place).unwrap(),
            "it could not be started before"
        );
        assert_eq!(fs::read_dir(folder.join("bin")).unwrap().count(), 1);
        fs::remove_dir_all(folder).unwrap();
    }
}
