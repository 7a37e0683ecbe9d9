//! Type `bridge` with an IPAM plugin of somebody else's: the one case in which another program is run.
//!
//! Follows the CNI specification, "delegated plugins": it is looked for in `CNI_PATH`, gets the same environment with the verb
//! and the same configuration, and its standard error goes where ours goes. What it answers is read by `model`.

use model::attachment::PodAddress;
use model::cni::{CniError, Code, Given, Valid};
use serde_json::Value;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Addresses, routes and name servers from the plugin that the configuration names; none if it names none.
///
/// # Errors
/// The plugin is not there, fails, or gives no address.
pub(crate) fn add(conf: &Valid) -> Result<Option<Given>, CniError> {
    let Some(name) = conf.delegate()? else {
        return Ok(None);
    };
    let answer = match run(name, "ADD", conf) {
        Ok(answer) => Given::read(&answer).map_err(|why| failed(name, "ADD", &why, "")),
        Err(error) => Err(error),
    };
    match answer {
        Ok(given) => Ok(Some(given)),
        // It may have got halfway.
        Err(error) => match run(name, "DEL", conf) {
            Ok(_) => Err(error),
            Err(left) => {
                let details = format!("{}; and its DEL: {left}", error.details);
                Err(error.details(details))
            }
        },
    }
}

/// Whether the plugin that the configuration names can be found, before anything is made for it.
///
/// # Errors
/// It cannot.
pub(crate) fn is_there(conf: &Valid) -> Result<(), CniError> {
    match conf.delegate()? {
        Some(name) => find(name).map(drop),
        None => Ok(()),
    }
}

/// Hands a verb on that answers nothing.
///
/// # Errors
/// As [`add`].
pub(crate) fn pass(verb: &str, conf: &Valid) -> Result<(), CniError> {
    match conf.delegate()? {
        Some(name) => run(name, verb, conf).map(drop),
        None => Ok(()),
    }
}

/// What was given, in the words of the record.
pub(crate) fn addresses(given: Option<&Given>) -> Vec<PodAddress> {
    given
        .map(|given| given.addresses.clone())
        .unwrap_or_default()
}

fn run(name: &str, verb: &str, conf: &Valid) -> Result<Value, CniError> {
    let program = find(name)?;
    let io = |error: std::io::Error| failed(name, verb, &format!("it cannot be run: {error}"), "");
    let mut child = Command::new(&program)
        .env("CNI_COMMAND", verb)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(io)?;
    if let Some(mut stdin) = child.stdin.take() {
        // One that does not read has its reasons; what it answers counts.
        drop(stdin.write_all(conf.written().as_bytes()));
    }
    let output = child.wait_with_output().map_err(io)?;
    let text = String::from_utf8_lossy(&output.stdout);
    let answer: Value = serde_json::from_str(text.trim()).unwrap_or(Value::Null);
    if output.status.success() {
        return Ok(answer);
    }
    let part = |key: &str| answer[key].as_str().unwrap_or_default().to_owned();
    let why = match part("msg") {
        msg if msg.is_empty() => {
            format!("it ended with {} and said {:?}", output.status, text.trim())
        }
        msg => msg,
    };
    let error = failed(name, verb, &why, &part("details"));
    let code = match answer["code"].as_u64() {
        Some(11) => Code::TryAgain,
        Some(50) => Code::Unavailable,
        _ => error.code,
    };
    Err(CniError { code, ..error })
}

fn failed(name: &str, verb: &str, why: &str, details: &str) -> CniError {
    CniError::new(
        Code::Delegate,
        format!("{verb} of IPAM plugin {name}: {why}"),
    )
    .details(details)
}

fn find(name: &str) -> Result<PathBuf, CniError> {
    let folders = std::env::var_os("CNI_PATH").unwrap_or_default();
    let mut paths = std::env::split_paths(&folders).map(|folder| folder.join(name));
    paths.find(|path| Path::is_file(path)).ok_or_else(|| {
        let msg = format!("IPAM plugin {name:?} is in none of the folders of CNI_PATH");
        CniError::new(Code::Environment, msg).details(format!("CNI_PATH is {}", folders.display()))
    })
}
