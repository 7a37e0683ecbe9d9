//! Puts a program where others start it, while they do.
//!
//! By rename: a call that runs keeps the old file, the next one gets the whole new one, and at no time is there none or half
//! of one. Writing into the file itself would fail while it runs (`ETXTBSY`, execve(2)). A name that others use as well is
//! taken only where it is free, or where the file shows by a mark in it that it is ours.

use crate::error::Error;
use std::fs::{self, File, Permissions};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

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

/// What became of a name that others use as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// The program is there now, and was not, or was another version.
    New,
    /// It was there already.
    Already,
    /// Somebody else's file has the name; it stays.
    ByAnother,
}

/// As [`put`], but only if nothing has the name, or a program that bears `mark`.
///
/// # Errors
/// As [`put`].
pub fn put_unless_others(program: &Path, place: &Path, mark: &str) -> Result<Taken, Error> {
    let failed = |error| Error::io(format!("write {}", place.display()), &error);
    if fs::symlink_metadata(place).is_ok() {
        if !bears(place, mark)? {
            return Ok(Taken::ByAnother);
        }
        return put(program, place).map(|new| if new { Taken::New } else { Taken::Already });
    }
    let bytes = fs::read(program)
        .map_err(|error| Error::io(format!("read {}", program.display()), &error))?;
    let unfinished = unfinished(place, &bytes).map_err(failed)?;
    // A rename would take the place of a file that somebody has put there this moment.
    let linked = fs::hard_link(&unfinished, place);
    fs::remove_file(&unfinished).map_err(failed)?;
    match linked {
        Ok(()) => Ok(Taken::New),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(Taken::ByAnother),
        Err(error) => Err(failed(error)),
    }
}

/// Whether the file holds the bytes of `mark`. What is no file does not.
///
/// # Errors
/// It is there and cannot be read.
pub fn bears(path: &Path, mark: &str) -> Result<bool, Error> {
    // Reading a pipe would wait.
    if !fs::metadata(path).is_ok_and(|there| there.is_file()) {
        return Ok(false);
    }
    let bytes =
        fs::read(path).map_err(|error| Error::io(format!("read {}", path.display()), &error))?;
    Ok(bytes
        .windows(mark.len())
        .any(|there| there == mark.as_bytes()))
}

/// Where a program lies while it is being written: runtimes look plugins up by name, and this one is nobody's.
fn unfinished_name(place: &Path) -> PathBuf {
    place.with_extension("unfinished")
}

fn is_there(place: &Path, bytes: &[u8]) -> bool {
    let mode = fs::metadata(place).map(|there| there.permissions().mode());
    mode.is_ok_and(|mode| mode & EXECUTABLE == EXECUTABLE)
        && fs::read(place).is_ok_and(|there| there == bytes)
}

fn write(place: &Path, bytes: &[u8]) -> io::Result<()> {
    let unfinished = unfinished(place, bytes)?;
    fs::rename(&unfinished, place)?;
    File::open(folder(place))?.sync_all()
}

/// The whole program beside its place.
fn unfinished(place: &Path, bytes: &[u8]) -> io::Result<PathBuf> {
    fs::create_dir_all(folder(place))?;
    let unfinished = unfinished_name(place);
    let mut file = File::create(&unfinished)?;
    file.write_all(bytes)?;
    file.set_permissions(Permissions::from_mode(EXECUTABLE))?;
    file.sync_all()?;
    Ok(unfinished)
}

fn folder(place: &Path) -> &Path {
    place.parent().unwrap_or_else(|| Path::new("/"))
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

    #[test]
    fn a_name_that_others_use_too_is_taken_only_where_it_is_free_or_ours() {
        let folder = std::env::temp_dir().join(format!("podwire-taken-{}", std::process::id()));
        let (program, bin) = (folder.join("program"), folder.join("bin"));
        fs::create_dir_all(&bin).unwrap();
        let place = bin.join("loopback");
        let put = || put_unless_others(&program, &place, "MARK").unwrap();
        fs::write(&program, "one MARK").unwrap();
        assert_eq!((put(), put()), (Taken::New, Taken::Already));
        fs::write(&program, "MARK two").unwrap();
        assert_eq!(put(), Taken::New);
        assert_eq!(fs::read_to_string(&place).unwrap(), "MARK two");
        let mode = fs::metadata(&place).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, EXECUTABLE);

        fs::write(&place, "theirs").unwrap();
        assert_eq!(put(), Taken::ByAnother);
        assert_eq!(fs::read_to_string(&place).unwrap(), "theirs");
        fs::remove_file(&place).unwrap();
        std::os::unix::fs::symlink("nowhere", &place).unwrap();
        assert_eq!(put(), Taken::ByAnother);
        fs::remove_file(&place).unwrap();
        fs::create_dir(&place).unwrap();
        assert_eq!(put(), Taken::ByAnother);
        assert_eq!(
            fs::read_dir(&bin).unwrap().count(),
            1,
            "nothing unfinished stays"
        );
        fs::remove_dir_all(folder).unwrap();
    }
}
