//! Type `bridge` with an IPAM plugin of somebody else's: the one case in which another program is run.
//!
//! Follows the CNI specification, "delegated plugins": it is looked for in `CNI_PATH`, gets the same environment with the verb
//! and the same configuration, and its standard error goes where ours goes. What it answers is read by `model`.

use crate::answer::state;
use host::store::Held;
use model::attachment::Key;
use model::cni::{CniError, Code, Given, Valid};
use model::name::NetworkName;
use serde_json::Value;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Tells a program of ours that the one that is asked starts in turn which record is locked: a network, and its file there.
const HOLDS: &str = "PODWIRE_HOLDS";

/// Whether the record of this attachment is locked by the program that this one works for.
pub(crate) fn is_held_above(key: &Key) -> bool {
    std::env::var_os(HOLDS).is_some_and(|held| held == *record(&key.network, &key.file()))
}

fn record(network: &NetworkName, file: &str) -> String {
    format!("{network}/{file}")
}

/// Asks the plugin that the record names for addresses, routes and name servers, and writes them into the record. One that fails
/// may have got halfway: whoever ends the attachment calls it once more.
///
/// # Errors
/// The plugin is not there, fails, or gives no address.
pub(crate) fn add(held: &mut Held<'_>, name: &str, conf: &Valid) -> Result<(), CniError> {
    let answer = run(name, "ADD", conf, Some(held))?;
    let given = Given::read(&answer).map_err(|why| failed(name, "ADD", &why, ""))?;
    held.write_given(given).map_err(|error| state(&error))
}

/// Gives the addresses back to the plugin that the record names; a broken one names none, and the configuration's is asked.
///
/// # Errors
/// The plugin is not there, or fails.
pub(crate) fn take_back(held: &Held<'_>, conf: &Valid) -> Result<(), CniError> {
    let name = match held.record() {
        Some(record) => record.bridged.as_ref().and_then(|it| it.ipam.as_deref()),
        None => conf.delegate()?,
    };
    name.map_or(Ok(()), |name| run(name, "DEL", conf, Some(held)).map(drop))
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

/// Hands a verb on that answers nothing, if the configuration names a plugin.
///
/// # Errors
/// As [`take_back`].
pub(crate) fn pass(verb: &str, conf: &Valid) -> Result<(), CniError> {
    match conf.delegate()? {
        Some(name) => run(name, verb, conf, None).map(drop),
        None => Ok(()),
    }
}

/// With a record at hand the call is for its attachment, and has its lock for as long as it lasts, even if this program is killed
/// meanwhile: nobody may take back what is just being given, or give anew what is just being taken back.
fn run(name: &str, verb: &str, conf: &Valid, held: Option<&Held<'_>>) -> Result<Value, CniError> {
    let program = find(name)?;
    let io = |error: std::io::Error| failed(name, verb, &format!("it cannot be run: {error}"), "");
    let mut command = Command::new(&program);
    if let Some(held) = held {
        held.share().map_err(|error| state(&error))?;
        if let Some(key) = held.key() {
            // GC's own call names none.
            command.env("CNI_CONTAINERID", key.container.as_str());
            command.env("CNI_IFNAME", key.ifname.as_str());
        }
        command.env(HOLDS, record(held.network(), held.name()));
    }
    let mut child = command
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
