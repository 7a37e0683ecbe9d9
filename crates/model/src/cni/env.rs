//! The environment of a call: which verb, for which container.
//!
//! An empty variable is an absent one: runtimes pass empty ones for GC and STATUS. The whole environment of the runtime is
//! inherited, so only the variables of the specification are ever read.

use super::{CniError, Code, Kind};
use crate::name::{ContainerId, IfName, NameError, PodRef};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

/// What the runtime asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// Attach a container.
    Add,
    /// Detach it.
    Del,
    /// Compare what is with what ADD made.
    Check,
    /// Remove what is not listed.
    Gc,
    /// Say whether an ADD could be served.
    Status,
    /// Say which versions are served.
    Version,
}

impl Verb {
    /// As it is written in `CNI_COMMAND`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Add => "ADD",
            Self::Del => "DEL",
            Self::Check => "CHECK",
            Self::Gc => "GC",
            Self::Status => "STATUS",
            Self::Version => "VERSION",
        }
    }
}

/// The environment of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// What is asked.
    pub verb: Verb,
    /// For which container; absent for GC, STATUS and VERSION.
    pub container: Option<ContainerId>,
    /// Path of its network namespace; may be absent for DEL.
    pub netns: Option<String>,
    /// Name of the interface inside it.
    pub ifname: Option<IfName>,
    /// The pod, if the runtime named one.
    pub pod: Option<PodRef>,
    /// What else `CNI_ARGS` asks for.
    pub args: Args,
}

/// What `CNI_ARGS` asks for, as it is written there; what is empty is not asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Args {
    /// `IP`: an address, or several with commas between them.
    pub ip: String,
    /// `MAC`
    pub mac: String,
}

impl Call {
    /// Reads the environment through `get`. `Ok(None)` if no verb is there: a person called. `called` is the name that the
    /// plugin was called by.
    ///
    /// # Errors
    /// Code 4: an unknown verb, all missing variables in one message, or a value that breaks its rules.
    pub fn read(
        called: &str,
        get: impl Fn(&str) -> Option<String>,
    ) -> Result<Option<Self>, CniError> {
        let get = |name: &str| get(name).filter(|value| !value.is_empty());
        let Some(command) = get("CNI_COMMAND") else {
            return Ok(None);
        };
        let verb = [
            Verb::Add,
            Verb::Del,
            Verb::Check,
            Verb::Gc,
            Verb::Status,
            Verb::Version,
        ]
        .into_iter()
        .find(|verb| verb.as_str() == command)
        .ok_or_else(|| {
            CniError::new(Code::Environment, format!("unknown CNI_COMMAND: {command}"))
        })?;
        require(verb, &get)?;
        // VERSION is called with dummy values; GC and STATUS are about no container.
        if matches!(verb, Verb::Version | Verb::Gc | Verb::Status) {
            return Ok(Some(Self {
                verb,
                container: None,
                netns: None,
                ifname: None,
                pod: None,
                args: Args::default(),
            }));
        }
        let strict = matches!(verb, Verb::Add | Verb::Check) && obeys_arguments(called);
        let (pod, args) = arguments(strict, get("CNI_ARGS").as_deref().unwrap_or_default())?;
        Ok(Some(Self {
            verb,
            container: checked("CNI_CONTAINERID", get("CNI_CONTAINERID"), ContainerId::new)?,
            netns: get("CNI_NETNS"),
            ifname: checked("CNI_IFNAME", get("CNI_IFNAME"), IfName::new)?,
            pod,
            args,
        }))
    }
}

fn require(verb: Verb, get: &impl Fn(&str) -> Option<String>) -> Result<(), CniError> {
    let needed: &[&str] = match verb {
        Verb::Add | Verb::Check => &["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME"],
        Verb::Del => &["CNI_CONTAINERID", "CNI_IFNAME"],
        Verb::Gc | Verb::Status | Verb::Version => &[],
    };
    let missing: Vec<&str> = needed
        .iter()
        .copied()
        .filter(|name| get(name).is_none())
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let names = missing.join(", ");
    Err(CniError::new(
        Code::Environment,
        format!("required environment variables are missing: {names}"),
    ))
}

fn checked<T>(
    name: &str,
    value: Option<String>,
    new: impl Fn(&str) -> Result<T, NameError>,
) -> Result<Option<T>, CniError> {
    let Some(value) = value else { return Ok(None) };
    match new(&value) {
        Ok(value) => Ok(Some(value)),
        Err(why) => Err(
            CniError::new(Code::Environment, format!("{name} is not usable: {why}")).details(value),
        ),
    }
}

/// Whether the type that was called looks for anything in `CNI_ARGS`. To the others they are other plugins' business.
fn obeys_arguments(called: &str) -> bool {
    !matches!(Kind::named(called), Ok(Kind::Loopback | Kind::Portmap))
}

/// Reads `CNI_ARGS` (`K=V;K=V`). Only ADD and CHECK are `strict` about it: a DEL must not fail for an argument.
fn arguments(strict: bool, args: &str) -> Result<(Option<PodRef>, Args), CniError> {
    let mut pod = PodRef {
        namespace: String::new(),
        name: String::new(),
        uid: String::new(),
    };
    let mut asked = Args::default();
    let (mut unknown, mut ignore) = (Vec::new(), false);
    for pair in args.split(';').filter(|pair| !pair.is_empty()) {
        let Some((key, value)) = pair
            .split_once('=')
            .filter(|(_, value)| !value.contains('='))
        else {
            if strict {
                return Err(CniError::new(
                    Code::Environment,
                    format!("CNI_ARGS: {pair:?} is not KEY=VALUE"),
                ));
            }
            continue;
        };
        match key {
            "IgnoreUnknown" => ignore = matches!(value.to_ascii_lowercase().as_str(), "1" | "true"),
            "K8S_POD_NAMESPACE" => pod.namespace = value.into(),
            "K8S_POD_NAME" => pod.name = value.into(),
            "K8S_POD_UID" => pod.uid = value.into(),
            "K8S_POD_INFRA_CONTAINER_ID" => {}
            "IP" => asked.ip = value.into(),
            "MAC" => asked.mac = value.into(),
            "GATEWAY" if strict && !value.is_empty() => {
                let msg = format!(
                    "CNI_ARGS: GATEWAY={value} is not served: the network's gateway is that of its ranges"
                );
                return Err(CniError::new(Code::Unsupported, msg));
            }
            "GATEWAY" => {}
            _ => unknown.push(key.to_string()),
        }
    }
    if strict && !ignore && !unknown.is_empty() {
        let keys = unknown.join(", ");
        return Err(CniError::new(
            Code::Environment,
            format!("CNI_ARGS: unknown keys without IgnoreUnknown=1: {keys}"),
        ));
    }
    // A container engine that is no Kubernetes sends a name alone; that is no pod.
    let is_pod = |pod: &PodRef| !pod.namespace.is_empty() && !pod.name.is_empty();
    Ok((Some(pod).filter(is_pod), asked))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn read(vars: &[(&str, &str)]) -> Result<Option<Call>, CniError> {
        let vars: BTreeMap<_, _> = vars
            .iter()
            .map(|(k, v)| (k.to_string(), v.to_string()))
            .collect();
        Call::read("podwire", |name| vars.get(name).cloned())
    }

    const ADD: [(&str, &str); 4] = [
        ("CNI_COMMAND", "ADD"),
        ("CNI_CONTAINERID", "c1"),
        ("CNI_NETNS", "/run/netns/a"),
        ("CNI_IFNAME", "eth0"),
    ];

    fn add_with(args: &str) -> Result<Option<Call>, CniError> {
        let mut vars = ADD.to_vec();
        vars.push(("CNI_ARGS", args));
        read(&vars)
    }

    #[test]
    fn no_verb_is_no_call() {
        assert_eq!(read(&[]), Ok(None));
        assert_eq!(read(&[("CNI_COMMAND", "")]), Ok(None));
    }

    #[test]
    fn an_unknown_verb_has_the_message_that_runtimes_look_for() {
        let error = read(&[("CNI_COMMAND", "GET")]).unwrap_err();
        assert_eq!(
            (error.code, error.msg.as_str()),
            (Code::Environment, "unknown CNI_COMMAND: GET")
        );
    }

    #[test]
    fn all_missing_variables_stand_in_one_message() {
        let error = read(&[("CNI_COMMAND", "ADD"), ("CNI_IFNAME", "")]).unwrap_err();
        assert!(
            error
                .msg
                .ends_with("CNI_CONTAINERID, CNI_NETNS, CNI_IFNAME"),
            "{}",
            error.msg
        );
    }

    #[test]
    fn a_name_of_sixteen_bytes_is_refused_by_name() {
        let mut vars = ADD.to_vec();
        vars[3].1 = "abcdefghijklmnop";
        let error = read(&vars).unwrap_err();
        assert_eq!(error.code, Code::Environment);
        assert!(error.msg.starts_with("CNI_IFNAME"), "{}", error.msg);
    }

    #[test]
    fn a_del_needs_no_namespace_and_forgives_arguments() {
        let vars = [
            ("CNI_COMMAND", "DEL"),
            ("CNI_CONTAINERID", "c1"),
            ("CNI_IFNAME", "eth0"),
            ("CNI_ARGS", "nonsense"),
        ];
        let call = read(&vars).unwrap().unwrap();
        assert_eq!((call.verb, call.netns), (Verb::Del, None));
    }

    #[test]
    fn the_pod_is_read_from_the_arguments() {
        let call = add_with("K8S_POD_NAME=web-1;IgnoreUnknown=1;K8S_POD_NAMESPACE=shop;X=y")
            .unwrap()
            .unwrap();
        assert_eq!(
            call.pod.map(|p| (p.namespace, p.name)),
            Some(("shop".into(), "web-1".into()))
        );
        assert_eq!(
            add_with("IgnoreUnknown=true;K8S_POD_NAME=only")
                .unwrap()
                .unwrap()
                .pod,
            None
        );
    }

    #[test]
    fn arguments_that_would_be_ignored_are_refused() {
        for bad in [
            "nonsense",
            "A=b=c",
            "X=y",
            "GATEWAY=10.0.0.9;IgnoreUnknown=1",
        ] {
            assert!(add_with(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn arguments_are_no_business_of_types_that_look_for_none() {
        let mut vars: BTreeMap<_, _> = ADD.into_iter().collect();
        for (called, passes) in [("loopback", true), ("portmap", true), ("bridge", false)] {
            vars.insert("CNI_ARGS", "none");
            let call = Call::read(called, |name| vars.get(name).map(ToString::to_string));
            assert_eq!(call.is_ok(), passes, "{called}");
        }
    }

    #[test]
    fn address_and_mac_are_read_from_the_arguments() {
        let call = add_with("IP=10.0.0.9;MAC=02:00:00:00:00:01;GATEWAY=")
            .unwrap()
            .unwrap();
        assert_eq!(
            (call.args.ip.as_str(), call.args.mac.as_str()),
            ("10.0.0.9", "02:00:00:00:00:01")
        );
        assert_eq!(add_with("").unwrap().unwrap().args, Args::default());
    }
}
