//! Under which names this Kubernetes' own tests ask for their images: `test/utils/image/manifest.go` of its module.
//!
//! The pods of the project's tests use the same names, so that an image is there once. The file is read as the two kinds of
//! lines that it has for this, a registry's address and an image's name and tag, and not as Go.

use anyhow::{Context, Result};

/// The full name of the image that the file calls `key`.
pub(super) fn name(manifest: &str, key: &str) -> Result<String> {
    find(manifest, key).with_context(|| {
        format!("Kubernetes' list of images has no {key} where it had one; look at test/utils/image/manifest.go of its module")
    })
}

/// `configs[KEY] = Config{list.REGISTRY, "NAME", "TAG"}` and `REGISTRY: "ADDRESS",`.
fn find(manifest: &str, key: &str) -> Option<String> {
    let head = format!("configs[{key}]");
    let mut lines = manifest.lines().map(str::trim);
    let config = lines.find_map(|line| line.strip_prefix(&head))?;
    let (_, config) = config.split_once("Config{list.")?;
    let (registry, rest) = config.split_once(',')?;
    let mut quoted = rest.split('"').skip(1).step_by(2);
    let (name, tag) = (quoted.next()?, quoted.next()?);
    let head = format!("{registry}:");
    let address = manifest
        .lines()
        .find_map(|line| line.trim().strip_prefix(&head)?.trim().strip_prefix('"'))?;
    let (address, _) = address.split_once('"')?;
    Some(format!("{address}/{name}:{tag}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MANIFEST: &str = r#"
type RegistryList struct {
	TestRegistry string `yaml:"testRegistry"`
}
var initRegistry = RegistryList{
	TestRegistry:      "registry.test/images",
	OtherTestRegistry: "other.test",
}
	configs[Tool] = Config{list.TestRegistry, "tool", "2.1"}
	configs[ToolNew] = Config{list.OtherTestRegistry, "tool", "2.2"}
"#;

    #[test]
    fn a_name_is_put_together_from_two_lines() {
        assert_eq!(
            name(MANIFEST, "Tool").unwrap(),
            "registry.test/images/tool:2.1"
        );
        assert_eq!(name(MANIFEST, "ToolNew").unwrap(), "other.test/tool:2.2");
    }

    #[test]
    fn an_image_that_is_not_in_the_list_is_an_error() {
        let error = name(MANIFEST, "Too").unwrap_err().to_string();
        assert!(error.contains("no Too"), "{error}");
    }
}
