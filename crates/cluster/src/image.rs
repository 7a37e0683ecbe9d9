//! Makes the images that the cluster runs, and Podwire's own for everybody, as OCI archives.
//!
//! Each is `images/NAME.tar`; `images/NAME.name` holds the name under which pods ask for it, `images/NAME.digest` what is in
//! it. No registry, no daemon and no other program is needed to make one.

mod layout;
mod library;
mod name;
mod recipe;
mod tar;
mod tree;

use std::env::consts::ARCH;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};

use crate::progress::say;
use crate::{Place, build, version};
use layout::Image;
use tree::Tree;

/// The programs of Podwire's image and the one that it starts, as deploy/Containerfile has them.
const PODWIRE: [&str; 3] = ["podwired", "podwire-cni", "podwire"];
const ENTRYPOINT: &str = "/podwired";
/// The operator's.
const TOOL: &str = "podwire";

/// Of an image that nobody else asks for. The domain must be there: without one, the name is taken for one of a registry.
const COREDNS: &str = "cluster.test/coredns";

/// Makes the images of those programs of others that are built, unless they are there with the same content.
///
/// # Errors
/// When a program of the machine is missing, with the command that brings it.
pub fn others(place: &Place) -> Result<()> {
    let has_names = build::holds(place, build::COREDNS);
    if has_names {
        let name = format!("{COREDNS}:{}", version::COREDNS);
        let tree = recipe::alone("/coredns", &place.program("coredns")?)?;
        keep(place, "coredns", &image(&name, &["/coredns"], &[]), &tree)?;
    }
    if !build::holds(place, build::KUBERNETES) {
        return Ok(());
    }
    let (pause, agnhost) = (place.program("pause")?, place.program("agnhost")?);
    let share = build::share(place);
    let list = share.join(build::IMAGES);
    let list = fs::read_to_string(&list).with_context(|| format!("read {}", list.display()))?;

    let name = name::name(&list, "Pause")?;
    let tree = recipe::alone("/pause", &pause)?;
    keep(place, "pause", &image(&name, &["/pause"], &[]), &tree)?;

    let name = name::name(&list, "Agnhost")?;
    let mut tree = recipe::tools()?;
    recipe::agnhost(&mut tree, &agnhost, &share)?;
    // They ask this image for names as well.
    let has_tests = has_names && build::holds(place, build::E2E);
    if has_tests {
        recipe::names(&mut tree, &place.program("coredns")?)?;
    }
    keep(
        place,
        "agnhost",
        &image(&name, &["/agnhost"], &["pause"]),
        &tree,
    )?;

    if has_tests {
        tests(place, &list)
    } else {
        Ok(())
    }
}

/// The images that only Kubernetes' own tests ask for.
fn tests(place: &Place, list: &str) -> Result<()> {
    let name = name::name(list, "GlibcDnsTesting")?;
    let mut tree = recipe::tools()?;
    recipe::glibc(&mut tree)?;
    keep(place, "glibc-dns-testing", &image(&name, &[], &[]), &tree)?;

    let name = name::name(list, "BusyBox")?;
    let tree = recipe::small()?;
    keep(place, "busybox", &image(&name, &[], &["sh"]), &tree)?;

    let name = name::name(list, "RegressionIssue74839")?;
    let program = format!("/{}", build::REGRESSION);
    let tree = recipe::alone(&program, &place.program(build::REGRESSION)?)?;
    keep(
        place,
        build::REGRESSION,
        &image(&name, &[&program], &[]),
        &tree,
    )
}

/// Makes Podwire's image of the built programs, unless it is there with the same content, and puts the operator's tool where
/// every machine finds it.
///
/// # Errors
/// When a program is missing, with the command that brings it.
pub fn podwire(place: &Place) -> Result<()> {
    let bin = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../dist/bin");
    let name = podwire_name();
    keep(
        place,
        "podwire",
        &image(&name, &[ENTRYPOINT], &[]),
        &podwire_tree(&bin)?,
    )?;
    let tool = place.bin().join(TOOL);
    // By rename: a machine may be running the old one.
    let unfinished = tool.with_extension("unfinished");
    fs::copy(bin.join(TOOL), &unfinished)
        .and_then(|_| fs::rename(&unfinished, &tool))
        .with_context(|| format!("put {}", tool.display()))
}

/// Writes Podwire's image of the programs in `bin`, which run on `machine` (as `uname -m` has it), into one file.
///
/// # Errors
/// When a program is missing, with the command that brings it.
pub fn podwire_file(bin: &Path, machine: &str, file: &Path) -> Result<()> {
    named(&podwire_name(), bin, machine, file)
}

/// The same under another name.
pub(crate) fn named(name: &str, bin: &Path, machine: &str, file: &Path) -> Result<()> {
    let mut image = image(name, &[ENTRYPOINT], &[]);
    image.machine = machine;
    image.seal(&podwire_tree(bin)?)?.write(file)?;
    say(format!("{name} for {machine}: {}", file.display()));
    Ok(())
}

pub(crate) fn podwire_name() -> String {
    format!("localhost/podwire:{}", version::PODWIRE)
}

fn image<'a>(name: &'a str, entrypoint: &'a [&'a str], command: &'a [&'a str]) -> Image<'a> {
    Image {
        name,
        machine: ARCH,
        entrypoint,
        command,
    }
}

fn podwire_tree(bin: &Path) -> Result<Tree> {
    let mut tree = Tree::default();
    for program in PODWIRE {
        let source = bin.join(program);
        ensure!(
            source.is_file(),
            "{} is missing; type: cargo xtask dist",
            source.display()
        );
        tree.program(&format!("/{program}"), &source)?;
    }
    Ok(tree)
}

/// Puts an image into its place, unless the same is there.
fn keep(place: &Place, archive: &str, image: &Image<'_>, tree: &Tree) -> Result<()> {
    let file = |extension: &str| place.images().join(format!("{archive}.{extension}"));
    let sealed = image.seal(tree)?;
    let (tar, digest) = (file("tar"), file("digest"));
    if tar.is_file() && fs::read_to_string(&digest).is_ok_and(|there| there == sealed.digest) {
        return Ok(());
    }
    let write = |file: &Path, content: &str| {
        fs::write(file, content).with_context(|| format!("write {}", file.display()))
    };
    let images = place.images();
    fs::create_dir_all(&images).with_context(|| format!("make {}", images.display()))?;
    // The digest is there only when all the rest is.
    write(&digest, "")?;
    write(&file("name"), &format!("{}\n", image.name))?;
    sealed.write(&tar)?;
    write(&digest, &sealed.digest)?;
    say(format!("made the image {}", image.name));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn podwires_image_is_what_the_containerfile_says() {
        let containerfile = include_str!("../../../deploy/Containerfile");
        let instruction = |name: &str| {
            let mut lines = containerfile.lines().map(|line| line.split_whitespace());
            let words = lines.find_map(|mut words| (words.next()? == name).then_some(words));
            words.unwrap().collect::<Vec<_>>()
        };
        assert_eq!(instruction("FROM"), ["scratch"]);
        let mut copy = PODWIRE
            .map(|program| format!("dist/bin/{program}"))
            .to_vec();
        copy.push("/".to_owned());
        assert_eq!(instruction("COPY"), copy);
        assert_eq!(instruction("ENTRYPOINT"), [format!("[\"{ENTRYPOINT}\"]")]);
    }

    #[test]
    fn podwires_image_has_the_name_that_the_manifest_asks_for() {
        let manifest = include_str!("../../../deploy/podwire.yaml");
        let line = format!("image: {}", podwire_name());
        assert!(manifest.lines().any(|there| there.trim() == line), "{line}");
    }
}
