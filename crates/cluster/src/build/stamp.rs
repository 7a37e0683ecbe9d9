//! Whether a part is there as its recipe has it now.
//!
//! A stamp is the recipe as text, written last. So a changed version or flag, an interrupted build and a lost file all lead
//! to a new build; a newer compiler does not, because who has a cluster that works needs none. What the files contain is not
//! looked at.

use std::fs;
use std::io::ErrorKind;
use std::path::PathBuf;

use anyhow::{Context, Result};

use super::module;
use super::part::Part;
use crate::Place;

/// Whether the part need not be built.
pub(super) fn holds(place: &Place, part: &Part) -> bool {
    let there = fs::read_to_string(path(place, part));
    there.is_ok_and(|stamp| stamp == recipe(part))
        && part.files().all(|file| place.bin().join(file).is_file())
}

/// From now on it does not hold.
pub(super) fn lift(place: &Place, part: &Part) -> Result<()> {
    let path = path(place, part);
    match fs::remove_file(&path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

/// The part is there.
pub(super) fn set(place: &Place, part: &Part) -> Result<()> {
    let path = path(place, part);
    fs::write(&path, recipe(part)).with_context(|| format!("write {}", path.display()))
}

fn path(place: &Place, part: &Part) -> PathBuf {
    module::folder(place, part).join("stamp")
}

fn recipe(part: &Part) -> String {
    let mut lines = vec![
        format!("{} {}", part.module, part.version),
        part.main.unwrap_or_default().to_owned(),
    ];
    for step in &part.steps {
        lines.push(super::words(step).join(" "));
        lines.push(step.into.to_owned());
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::super::part::parts;
    use super::*;

    struct Scratch(Place);

    impl Scratch {
        fn new(name: &str) -> Self {
            let root = std::env::temp_dir().join(format!("cluster-{name}-{}", std::process::id()));
            Self(Place::at(&root))
        }

        /// As a build leaves it.
        fn built(&self, part: &Part) {
            for file in part.files() {
                let file = self.0.bin().join(file);
                fs::create_dir_all(file.parent().unwrap()).unwrap();
                fs::write(file, "").unwrap();
            }
            fs::create_dir_all(module::folder(&self.0, part)).unwrap();
            set(&self.0, part).unwrap();
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            drop(fs::remove_dir_all(self.0.root()));
        }
    }

    #[test]
    fn a_part_is_built_once() {
        let scratch = Scratch::new("once");
        for part in parts() {
            assert!(!holds(&scratch.0, &part), "{}", part.name);
            scratch.built(&part);
            assert!(holds(&scratch.0, &part), "{}", part.name);
        }
    }

    #[test]
    fn another_version_or_flag_or_source_is_another_part() {
        let scratch = Scratch::new("changed");
        let part = || parts().pop().unwrap();
        scratch.built(&part());
        let mut version = part();
        version.version.push('9');
        let mut flag = part();
        flag.steps[0].tags = "another";
        let mut source = part();
        source.main = Some("package main");
        for changed in [version, flag, source] {
            assert!(!holds(&scratch.0, &changed));
        }
        assert!(holds(&scratch.0, &part()));
    }

    #[test]
    fn a_part_that_lost_a_file_is_built_again() {
        let scratch = Scratch::new("lost");
        let part = parts().remove(0);
        scratch.built(&part);
        fs::remove_file(scratch.0.bin().join(part.files().last().unwrap())).unwrap();
        assert!(!holds(&scratch.0, &part));
    }

    #[test]
    fn a_part_whose_build_has_begun_does_not_hold_and_it_may_begin_twice() {
        let scratch = Scratch::new("begun");
        let part = parts().remove(0);
        scratch.built(&part);
        lift(&scratch.0, &part).unwrap();
        lift(&scratch.0, &part).unwrap();
        assert!(!holds(&scratch.0, &part));
    }
}
