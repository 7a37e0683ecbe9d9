//! deploy/podwire.yaml is what the chart renders with its default values.
//!
//! The few words of the template language that the chart uses are understood here, so that no other program is needed. `helm`
//! itself renders the same: `cargo xtask cluster test chart`.

use std::str::SplitWhitespace;

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

use super::{path, text, yaml};

const CHART: &str = "deploy/helm/podwire";
const MANIFEST: &str = "deploy/podwire.yaml";

/// What stands above the rendered text.
const HEAD: &str = "\
# Podwire on a cluster: kubectl apply -f deploy/podwire.yaml
#
# The cluster must give its nodes pod ranges (kube-controller-manager --allocate-node-cidrs --cluster-cidr; kubeadm init
# --pod-network-cidr), and the image must be on the nodes: docs/install.md. This file is what the chart deploy/helm/podwire
# renders with its default values; change it there.
";

fn one(name: &str) -> Result<Value> {
    yaml(&text(&format!("{CHART}/{name}"))?)?
        .into_iter()
        .next()
        .context("an empty file")
}

fn render(template: &str) -> Result<String> {
    let chart = one("Chart.yaml")?;
    let data = json!({
        "Values": one("values.yaml")?,
        "Chart": { "AppVersion": chart["appVersion"] },
        "Release": { "Namespace": "kube-system" },
    });
    let mut rendered = String::new();
    // Whether the lines now are wanted, for each `if` that is open.
    let mut wanted: Vec<bool> = Vec::new();
    for (number, line) in text(&format!("{CHART}/templates/{template}"))?
        .lines()
        .enumerate()
    {
        let told = control(line, &data, &mut wanted).and_then(|was_control| {
            if !was_control && wanted.iter().all(|wanted| *wanted) {
                fill(line, &data, &mut rendered)?;
            }
            Ok(())
        });
        told.with_context(|| format!("line {}: {line}", number + 1))?;
    }
    ensure!(wanted.is_empty(), "an `if` without its end");
    Ok(rendered)
}

/// Follows a line that only says which lines are wanted.
fn control(line: &str, data: &Value, wanted: &mut Vec<bool>) -> Result<bool> {
    let Some(words) = line
        .trim()
        .strip_prefix("{{- ")
        .and_then(|rest| rest.strip_suffix(" }}"))
    else {
        return Ok(false);
    };
    match words.split_once(' ').unwrap_or((words, "")) {
        ("if", of) => wanted.push(is_true(&operand(of, data)?)),
        ("else", "") => *wanted.last_mut().context("no `if`")? ^= true,
        ("end", "") => drop(wanted.pop().context("no `if`")?),
        _ => return Ok(false),
    }
    Ok(true)
}

fn fill(line: &str, data: &Value, rendered: &mut String) -> Result<()> {
    let mut rest = line;
    while let Some((before, after)) = rest.split_once("{{") {
        let (expression, tail) = after.split_once("}}").context("an open brace")?;
        let (before, expression) = match expression.strip_prefix('-') {
            // It takes the line's end before it away.
            Some(expression) => {
                ensure!(before.trim().is_empty());
                rendered.truncate(rendered.trim_end().len());
                ("", expression)
            }
            None => (before, expression),
        };
        rendered.push_str(before);
        rendered.push_str(&evaluate(expression, data)?);
        rest = tail;
    }
    rendered.push_str(rest);
    rendered.push('\n');
    Ok(())
}

/// `FIRST | FUNCTION ARGUMENT | ...`
fn evaluate(expression: &str, data: &Value) -> Result<String> {
    let mut steps = expression.split('|').map(str::trim);
    let first = steps.next().unwrap_or_default();
    let mut value = match first.strip_prefix("toYaml ") {
        Some(of) => Value::String(block(&operand(of, data)?)?),
        None => operand(first, data)?,
    };
    for step in steps {
        let mut words: SplitWhitespace<'_> = step.split_whitespace();
        let (function, argument) = (words.next(), words.next().context("no argument")?);
        value = match function {
            Some("default") if is_true(&value) => value,
            Some("default") => operand(argument, data)?,
            Some("nindent") => {
                let margin = format!("\n{}", " ".repeat(argument.parse()?));
                Value::String(
                    format!("\n{}", value.as_str().unwrap_or_default()).replace('\n', &margin),
                )
            }
            _ => bail!("{function:?} is not understood here"),
        };
    }
    let text = value.as_str().map(str::to_owned);
    Ok(text.unwrap_or_else(|| value.to_string()))
}

fn operand(path: &str, data: &Value) -> Result<Value> {
    let pointer = path.trim().replace('.', "/");
    let found = data.pointer(&pointer).cloned();
    found.with_context(|| format!("there is no {path}"))
}

fn block(value: &Value) -> Result<String> {
    Ok(serde_saphyr::to_string(value)?.trim_end().to_owned())
}

fn is_true(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(is) => *is,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(list) => !list.is_empty(),
        Value::Object(map) => !map.is_empty(),
    }
}

#[test]
fn the_manifest_is_what_the_chart_renders_with_its_defaults() -> Result<()> {
    let expected = format!("{HEAD}---\n{}", render("podwire.yaml")?);
    if text(MANIFEST)? != expected {
        let place = std::env::temp_dir().join("podwire-rendered.yaml");
        std::fs::write(&place, expected)?;
        bail!(
            "{MANIFEST} differs from what the chart renders; type: diff {0} {1}, then: cp {1} {0}",
            path(MANIFEST).canonicalize()?.display(),
            place.display()
        );
    }
    Ok(())
}

#[test]
fn the_chart_has_the_programs_version_and_its_notes_can_be_rendered() -> Result<()> {
    let version = env!("CARGO_PKG_VERSION");
    let chart = one("Chart.yaml")?;
    ensure!(
        chart["version"] == version && chart["appVersion"] == version,
        "{chart}"
    );
    let notes = render("NOTES.txt")?;
    ensure!(
        notes.contains(&format!("localhost/podwire:{version}")),
        "{notes}"
    );
    Ok(())
}
