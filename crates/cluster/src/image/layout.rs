//! An image as one file: an OCI image layout (image-spec 1.1, `image-layout.md`) in a tar archive.
//!
//! One layer, one platform. `ctr images import` and `podman load` read `index.json`; `manifest.json` is for the `docker load`
//! of before version 25, and costs a line. No time of creation is told, so that the same files give the same bytes.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::Path;
use std::process;

use anyhow::{Context, Result};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::tar::{Archive, Kind};
use super::tree::Tree;

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

/// What is said about an image beside its files.
pub(super) struct Image<'a> {
    /// With a domain and a tag.
    pub(super) name: &'a str,
    /// As `uname -m` has it.
    pub(super) machine: &'a str,
    pub(super) entrypoint: &'a [&'a str],
    pub(super) command: &'a [&'a str],
}

/// An image whose every byte is known.
pub(super) struct Sealed {
    /// Name and content, in the order of the archive.
    files: Vec<(String, Vec<u8>)>,
    /// Of the whole, the name included.
    pub(super) digest: String,
}

impl Sealed {
    /// Writes the archive, whole or not at all.
    pub(super) fn write(&self, file: &Path) -> Result<()> {
        let unfinished = file.with_extension(format!("{}.unfinished", process::id()));
        let written = File::create(&unfinished)
            .context("create")
            .and_then(|out| self.archive(BufWriter::new(out)))
            .and_then(|_| fs::rename(&unfinished, file).context("rename"));
        if written.is_err() {
            // What is left of it is of no use, and there may be nothing.
            drop(fs::remove_file(&unfinished));
        }
        written.with_context(|| format!("write {}", file.display()))
    }

    fn archive<W: Write>(&self, out: W) -> Result<W> {
        let mut archive = Archive::new(out);
        for (name, content) in &self.files {
            archive.add(name, 0o644, Kind::File, content)?;
        }
        archive.finish()
    }
}

impl Image<'_> {
    pub(super) fn seal(&self, tree: &Tree) -> Result<Sealed> {
        let layer = Blob::new(LAYER, tree.layer()?);
        let config = Blob::json(CONFIG, &self.config(&layer));
        let manifest = Blob::json(
            MANIFEST,
            &json!({
                "schemaVersion": 2,
                "mediaType": MANIFEST,
                "config": config.descriptor(),
                "layers": [layer.descriptor()],
            }),
        );
        let index = Blob::json(INDEX, &self.index(&manifest)?);
        let docker = json!([{
            "Config": config.path(), "RepoTags": [self.name], "Layers": [layer.path()],
        }]);
        let digest = index.digest.clone();
        let version = json!({ "imageLayoutVersion": "1.0.0" });
        let mut files = vec![
            ("oci-layout".to_owned(), version.to_string().into_bytes()),
            ("index.json".to_owned(), index.content),
            ("manifest.json".to_owned(), docker.to_string().into_bytes()),
        ];
        files.extend([config, manifest, layer].map(|blob| (blob.path(), blob.content)));
        Ok(Sealed { files, digest })
    }

    fn config(&self, layer: &Blob) -> Value {
        let mut config = json!({
            "architecture": architecture(self.machine),
            "os": "linux",
            // Before /bin, where an image with busybox has that.
            "config": { "Env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin:/"] },
            "rootfs": { "type": "layers", "diff_ids": [layer.digest] },
        });
        for (key, words) in [("Entrypoint", self.entrypoint), ("Cmd", self.command)] {
            if !words.is_empty() {
                config["config"][key] = json!(words);
            }
        }
        config
    }

    fn index(&self, manifest: &Blob) -> Result<Value> {
        let (_, tag) = self
            .name
            .rsplit_once(':')
            .with_context(|| format!("the image {} has no tag", self.name))?;
        let mut descriptor = manifest.descriptor();
        descriptor["platform"] =
            json!({ "architecture": architecture(self.machine), "os": "linux" });
        descriptor["annotations"] = json!({
            "io.containerd.image.name": self.name,
            "org.opencontainers.image.ref.name": tag,
        });
        Ok(json!({
            "schemaVersion": 2,
            "mediaType": INDEX,
            "manifests": [descriptor],
        }))
    }
}

struct Blob {
    kind: &'static str,
    digest: String,
    content: Vec<u8>,
}

impl Blob {
    fn new(kind: &'static str, content: Vec<u8>) -> Self {
        let digest = format!("sha256:{}", hexadecimal(&Sha256::digest(&content)));
        Self {
            kind,
            digest,
            content,
        }
    }

    fn json(kind: &'static str, value: &Value) -> Self {
        Self::new(kind, value.to_string().into_bytes())
    }

    fn descriptor(&self) -> Value {
        json!({ "mediaType": self.kind, "digest": self.digest, "size": self.content.len() })
    }

    fn path(&self) -> String {
        format!("blobs/{}", self.digest.replace(':', "/"))
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Go's word for a machine.
fn architecture(machine: &str) -> &str {
    match machine {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    const NAME: &str = "localhost/tool:1";

    fn written() -> Vec<u8> {
        let mut tree = Tree::default();
        tree.text("/tool", "content").unwrap();
        let image = Image {
            name: NAME,
            machine: "aarch64",
            entrypoint: &["/tool"],
            command: &[],
        };
        let sealed = image.seal(&tree).unwrap();
        sealed.archive(Vec::new()).unwrap()
    }

    /// The files of an archive, read by another hand than that which wrote it: sizes and names straight from the heads.
    fn files(mut archive: &[u8]) -> BTreeMap<String, Vec<u8>> {
        let mut files = BTreeMap::new();
        while archive[0] != 0 {
            let field = |range: std::ops::Range<usize>| {
                let text = std::str::from_utf8(&archive[range]).unwrap();
                text.trim_end_matches('\0').to_owned()
            };
            let size = usize::from_str_radix(&field(124..136), 8).unwrap();
            files.insert(field(0..100), archive[512..512 + size].to_vec());
            archive = &archive[512 + size.next_multiple_of(512)..];
        }
        files
    }

    fn read(files: &BTreeMap<String, Vec<u8>>, path: &str) -> Value {
        serde_json::from_slice(&files[path]).unwrap()
    }

    /// The blob that a descriptor points to, after its size and digest are found right.
    fn follow(files: &BTreeMap<String, Vec<u8>>, descriptor: &Value) -> Vec<u8> {
        let digest = descriptor["digest"].as_str().unwrap();
        let blob = &files[&format!("blobs/{}", digest.replace(':', "/"))];
        assert_eq!(descriptor["size"], blob.len());
        let sum = hexadecimal(&Sha256::digest(blob));
        assert_eq!(digest, format!("sha256:{sum}"));
        blob.clone()
    }

    #[test]
    fn every_descriptor_leads_to_a_blob_of_its_size_and_digest() {
        let files = files(&written());
        let index = read(&files, "index.json");
        let manifest = follow(&files, &index["manifests"][0]);
        let manifest: Value = serde_json::from_slice(&manifest).unwrap();
        let config: Value = serde_json::from_slice(&follow(&files, &manifest["config"])).unwrap();
        let layer = follow(&files, &manifest["layers"][0]);
        assert_eq!(self::files(&layer)["tool"], b"content");
        assert_eq!(
            config["rootfs"]["diff_ids"][0],
            manifest["layers"][0]["digest"]
        );
        assert_eq!(config["config"]["Entrypoint"], json!(["/tool"]));
        assert!(config["config"].get("Cmd").is_none(), "{config}");
        assert_eq!(files.len(), 6, "nothing else: {:?}", files.keys());
    }

    #[test]
    fn an_image_carries_its_name_for_each_of_its_readers() {
        let files = files(&written());
        let descriptor = &read(&files, "index.json")["manifests"][0];
        let annotations = &descriptor["annotations"];
        assert_eq!(annotations["io.containerd.image.name"], NAME);
        assert_eq!(annotations["org.opencontainers.image.ref.name"], "1");
        assert_eq!(read(&files, "manifest.json")[0]["RepoTags"], json!([NAME]));
        assert_eq!(
            read(&files, "oci-layout"),
            json!({ "imageLayoutVersion": "1.0.0" })
        );
    }

    #[test]
    fn a_machine_has_the_name_that_go_gives_it() {
        let files = files(&written());
        let descriptor = &read(&files, "index.json")["manifests"][0];
        assert_eq!(descriptor["platform"]["architecture"], "arm64");
    }

    #[test]
    fn the_same_files_give_the_same_bytes() {
        assert_eq!(written(), written());
    }

    #[test]
    fn a_digest_is_that_of_the_standard() {
        let sum = hexadecimal(&Sha256::digest(b"abc"));
        assert_eq!(
            sum,
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }
}
