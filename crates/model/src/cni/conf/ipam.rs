//! `ipam` of type `host-local`: which addresses may be given, and which ones are asked for.
//!
//! The keys, their defaults and their order are those of the reference plugin (containernetworking/plugins v1.9.1,
//! plugins/ipam/host-local); ranges that a runtime asks for come first, then the single range, then the list. What is wrong
//! is said all at once. Where reservations are kept is not decided here.

use super::asked::{range, runtime, sources, too_small};
use super::{Kind, Valid, get, text};
use crate::addr::{Family, PodRange};
use crate::cni::{Args, CniError, Code, RouteConfig, Version};
use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::net::IpAddr;
use ipnet::IpNet;
use serde_json::{Map, Value};

/// Most sets of ranges, and ranges in one: a record holds as many addresses.
const SETS: usize = 8;
const RANGES: usize = 64;

/// What is asked of the IPAM.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ipam {
    /// One address is taken from each set, from whichever of its ranges has one.
    pub sets: Vec<Vec<PodRange>>,
    /// Addresses that must be among those taken.
    pub asked: Vec<IpAddr>,
    /// Routes for the result.
    pub routes: Vec<RouteConfig>,
    /// File in the form of resolv.conf(5) whose words go into the result.
    pub resolv_conf: Option<String>,
    /// Where reservations are kept as the reference plugin keeps them; none if they are ours to keep.
    pub data_dir: Option<String>,
}

impl Valid {
    /// Reads `ipam`, and what a runtime asks for beside it.
    ///
    /// # Errors
    /// Code 7 with everything that is wrong.
    pub fn ipam(&self, args: &Args) -> Result<Ipam, CniError> {
        let mut wrong = Vec::new();
        let ipam = self.section();
        if ipam.is_none() {
            wrong.push("key \"ipam\" is missing".into());
        }
        let ipam = ipam.unwrap_or(&self.object);
        let read = Ipam {
            sets: self.sets(ipam, &mut wrong),
            asked: self.wanted(args, &mut wrong),
            routes: routes(ipam, &mut wrong),
            resolv_conf: text(ipam, "resolvConf")
                .filter(|path| !path.is_empty())
                .map(String::from),
            data_dir: self.data_dir().map(String::from),
        };
        if wrong.is_empty() {
            return self.sayable(&read.sets).map(|()| read);
        }
        let all = wrong.join("; ");
        let msg = format!("configuration of network {}: {all}", self.name);
        Err(CniError::new(Code::Config, msg))
    }

    /// Where reservations are kept as the reference plugin keeps them; none if they are ours to keep.
    #[must_use]
    pub fn data_dir(&self) -> Option<&str> {
        text(self.section()?, "dataDir").filter(|path| !path.is_empty())
    }

    fn section(&self) -> Option<&Map<String, Value>> {
        get(&self.object, "ipam").and_then(Value::as_object)
    }

    fn sets(&self, ipam: &Map<String, Value>, wrong: &mut Vec<String>) -> Vec<Vec<PodRange>> {
        let mut sets = list_of_sets(runtime(&self.object, "ipRanges"), "ipRanges", wrong);
        if get(ipam, "subnet").is_some_and(|subnet| !subnet.is_null()) {
            match range(&Value::Object(ipam.clone())) {
                Ok(range) => sets.push(vec![range]),
                Err(why) => wrong.push(format!("subnet: {why}")),
            }
        }
        sets.extend(list_of_sets(get(ipam, "ranges"), "ranges", wrong));
        if sets.is_empty() && wrong.is_empty() {
            wrong.push("no ranges: neither \"subnet\" nor \"ranges\" is in \"ipam\"".into());
        }
        if sets.len() > SETS || sets.iter().any(|set| set.len() > RANGES) {
            wrong.push(format!("more than {SETS} sets, or {RANGES} ranges in one"));
        }
        apart(&sets, wrong);
        sets
    }

    /// Whether an ADD could ever have been given addresses: a range that has none, or more addresses than the version can say,
    /// is refused by every ADD. Whoever asks to DEL what was never there by such a configuration is told as well.
    ///
    /// # Errors
    /// Code 7 with what an ADD would be told.
    pub fn could_give(&self) -> Result<(), CniError> {
        let gives = self.kind == Kind::HostLocal || self.gives_as_host_local();
        let Some(ipam) = self.section().filter(|_| gives) else {
            return Ok(());
        };
        let sets = get(ipam, "ranges").and_then(Value::as_array);
        let ranges = sets.into_iter().flatten().filter_map(Value::as_array);
        let listed = ranges.flatten().filter_map(Value::as_object);
        let mut subnets = listed
            .chain([ipam])
            .filter_map(|entry| text(entry, "subnet")?.parse::<IpNet>().ok());
        let is_too_small = |net: &IpNet| net.prefix_len() > Family::of(net.addr()).bits() - 2;
        match subnets.find(is_too_small) {
            Some(net) => Err(CniError::new(Code::Config, too_small(net))),
            None => self.sayable(&self.sets(ipam, &mut Vec::new())),
        }
    }

    /// A result of 0.1 and 0.2 has one address of each family. The words are the reference plugin's.
    fn sayable(&self, sets: &[Vec<PodRange>]) -> Result<(), CniError> {
        let of = |family| {
            let is_of = |set: &&Vec<PodRange>| set.iter().any(|range| range.family() == family);
            sets.iter().filter(is_of).count()
        };
        let most = [Family::V4, Family::V6].map(of);
        if self.version >= Version::V0_3_0 || most.iter().all(|count| *count < 2) {
            return Ok(());
        }
        let version = self.version;
        let msg = format!("CNI version {version} does not support more than 1 address per family");
        Err(CniError::new(Code::Config, msg))
    }

    /// Addresses from `CNI_ARGS`, `args.cni.ips` and `runtimeConfig.ips`, each once.
    fn wanted(&self, args: &Args, wrong: &mut Vec<String>) -> Vec<IpAddr> {
        let mut ips = Vec::new();
        for ip in sources(&self.object, args, wrong)
            .into_iter()
            .rev()
            .flatten()
        {
            if !ips.contains(&ip) {
                ips.push(ip);
            }
        }
        ips
    }
}

fn list_of_sets(value: Option<&Value>, key: &str, wrong: &mut Vec<String>) -> Vec<Vec<PodRange>> {
    let Some(value) = value.filter(|value| !value.is_null()) else {
        return Vec::new();
    };
    let Some(entries) = value.as_array() else {
        wrong.push(format!("{key}: {value} is no list of lists of ranges"));
        return Vec::new();
    };
    let mut sets = Vec::new();
    for entry in entries {
        let mut set = Vec::new();
        for one in entry.as_array().into_iter().flatten() {
            match range(one) {
                Ok(range) => set.push(range),
                Err(why) => wrong.push(format!("{key}: {one}: {why}")),
            }
        }
        match set.first() {
            None if wrong.is_empty() => wrong.push(format!("{key}: {entry} is no list of ranges")),
            Some(first) if set.iter().any(|it| it.family() != first.family()) => {
                wrong.push(format!("{key}: {entry} mixes address families"));
            }
            _ => {}
        }
        sets.push(set);
    }
    sets
}

/// No address can come from two places.
fn apart(sets: &[Vec<PodRange>], wrong: &mut Vec<String>) {
    let all: Vec<&PodRange> = sets.iter().flatten().collect();
    for (i, range) in all.iter().enumerate() {
        for other in all.iter().take(i).filter(|other| other.overlaps(range)) {
            wrong.push(format!("ranges {other} and {range} overlap"));
        }
    }
}

fn routes(ipam: &Map<String, Value>, wrong: &mut Vec<String>) -> Vec<RouteConfig> {
    let Some(value) = get(ipam, "routes").filter(|value| !value.is_null()) else {
        return Vec::new();
    };
    let mut routes = Vec::new();
    for entry in value.as_array().into_iter().flatten() {
        match serde_json::from_value::<RouteConfig>(entry.clone()) {
            Ok(route) => routes.push(route),
            Err(why) => wrong.push(format!("routes: {entry}: {why}")),
        }
    }
    if !value.is_array() {
        wrong.push(format!("routes: {value} is no list"));
    }
    routes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cni::Valid;
    use alloc::string::ToString as _;

    fn read(ipam: &str, rest: &str, ip: Option<&str>) -> Result<Ipam, CniError> {
        let input =
            format!(r#"{{"cniVersion":"1.0.0","name":"n","type":"macvlan","ipam":{ipam}{rest}}}"#);
        let args = Args {
            ip: ip.unwrap_or_default().into(),
            ..Args::default()
        };
        Valid::read(&input, "host-local")?.ipam(&args)
    }

    #[test]
    fn the_runtimes_ranges_come_first_then_the_single_one_then_the_list() {
        let ipam = read(
            r#"{"type":"host-local","subnet":"10.1.0.0/24","rangeStart":"10.1.0.9","ranges":[[{"subnet":"fd00::/64"}]],
                "routes":[{"dst":"0.0.0.0/0"},{"dst":"10.0.0.0/8","gw":"10.1.0.5","mtu":1400,"table":0}]}"#,
            r#","runtimeConfig":{"IPRanges":[[{"Subnet":"10.2.0.0/24","RangeEnd":"10.2.0.9"}]],"ips":["10.2.0.7/24","fd00::7"]},
                "args":{"cni":{"ips":["10.1.0.10"]}}"#,
            Some("10.2.0.7"),
        )
        .unwrap();
        let shown: Vec<String> = ipam
            .sets
            .iter()
            .flatten()
            .map(PodRange::to_string)
            .collect();
        let wanted = [
            "10.2.0.0/24 (10.2.0.1 to 10.2.0.9)",
            "10.1.0.0/24 (10.1.0.9 to 10.1.0.254)",
            "fd00::/64",
        ];
        assert_eq!(shown, wanted);
        let asked: Vec<String> = ipam.asked.iter().map(IpAddr::to_string).collect();
        assert_eq!(asked, ["10.2.0.7", "10.1.0.10", "fd00::7"]);
        assert_eq!(
            (ipam.routes[1].mtu, ipam.routes[1].table),
            (Some(1400), Some(0))
        );
    }

    #[test]
    fn what_is_no_range_is_refused_with_its_reason() {
        for (ipam, part) in [
            ("{}", "no ranges"),
            (r#"{"subnet":"10.1.2.1/24"}"#, "has host bits set"),
            (
                r#"{"subnet":"10.1.2.0/31"}"#,
                "Network 10.1.2.0/31 too small to allocate from",
            ),
            (
                r#"{"subnet":"10.1.2.0/24","rangeStart":"10.1.3.1"}"#,
                "10.1.3.1 is no address of 10.1.2.0/24",
            ),
            (
                r#"{"subnet":"10.1.2.0/24","rangeStart":"10.1.2.9","rangeEnd":"10.1.2.5"}"#,
                "no address for a pod",
            ),
            (
                r#"{"ranges":[[{"subnet":"10.1.2.0/24"}],[{"subnet":"10.1.2.0/25"}]]}"#,
                "overlap",
            ),
            (
                r#"{"ranges":[[{"subnet":"10.1.2.0/24"},{"subnet":"fd00::/64"}]]}"#,
                "mixes",
            ),
            (
                r#"{"ranges":[{"subnet":"10.1.2.0/24"}]}"#,
                "is no list of ranges",
            ),
            (
                r#"{"subnet":"10.1.2.0/24","routes":[{"dst":"x"}]}"#,
                "routes",
            ),
            (
                r#"{"subnet":"10.1.2.0/24","gateway":7}"#,
                "gateway 7 is no address",
            ),
        ] {
            let error = read(ipam, "", None).unwrap_err();
            assert_eq!(error.code, Code::Config);
            assert!(error.msg.contains(part), "{part:?} in {:?}", error.msg);
        }
        assert!(read(r#"{"subnet":"10.1.2.0/24"}"#, "", Some("banana")).is_err());
    }
}
