//! What is read of each source, which one is obeyed, and what is said about a wrong one.

use super::*;
use crate::cni::{Code, NetConf, Valid};
use alloc::borrow::ToOwned;

fn read(args: &Args, rest: &str) -> Result<(NetConf, Asked), CniError> {
    let text = format!(
        r#"{{"cniVersion":"1.0.0","name":"podwire","type":"podwire",
        "ranges":["10.244.0.0/24","fd00:10:244::/64"],"network":["10.244.0.0/16","fd00:10:244::/56"]{rest}}}"#
    );
    let valid = Valid::read(&text, "podwire")?;
    let network = valid.network(args)?;
    let asked = valid.asked(args, &network)?;
    Ok((network, asked))
}

fn args(ip: &str, mac: &str) -> Args {
    Args {
        ip: ip.to_owned(),
        mac: mac.to_owned(),
    }
}

fn ips(args: &Args, rest: &str) -> Vec<String> {
    let (_, asked) = read(args, rest).unwrap();
    asked.ips.iter().map(IpAddr::to_string).collect()
}

fn refused(args: &Args, rest: &str, part: &str) {
    let error = read(args, rest).unwrap_err();
    assert_eq!(error.code, Code::Config, "{error}");
    assert!(error.msg.contains(part), "{part:?} is not in {}", error.msg);
}

#[test]
fn a_mac_of_the_runtime_goes_before_arguments_and_these_before_the_environment() {
    let all = [
        ("", "02:00:00:00:00:03"),
        (
            r#","args":{"cni":{"mac":"02-00-00-00-00-02"}}"#,
            "02:00:00:00:00:02",
        ),
        (
            r#","args":{"cni":{"mac":"02:00:00:00:00:02"}},"RuntimeConfig":{"MAC":"02:00:00:00:00:01"}"#,
            "02:00:00:00:00:01",
        ),
    ];
    for (rest, wanted) in all {
        let (_, asked) = read(&args("", "02:00:00:00:00:03"), rest).unwrap();
        assert_eq!(asked.mac.unwrap().to_string(), wanted);
    }
}

#[test]
fn what_is_empty_is_not_asked_for() {
    let rest = r#","args":{"cni":{"mac":"","ips":[]}},"runtimeConfig":{"mac":null,"ips":[""],"ipRanges":[[]],
        "deviceID":"","bandwidth":{}}"#;
    let (network, asked) = read(&args("", ""), rest).unwrap();
    assert_eq!((asked, network.ranges.len()), (Asked::default(), 2));
}

#[test]
fn a_wrong_mac_is_refused_with_its_reason() {
    for (mac, part) in [
        ("02:00:00:00:00", "is no MAC"),
        ("02:00:00:00:00:0g", "is no MAC"),
        ("02:00:00:00:00:00:00", "is no MAC"),
        ("+2:00:00:00:00:00", "is no MAC"),
        ("00:00:00:00:00:00", "is zero"),
        ("03:00:00:00:00:01", "multicast"),
    ] {
        refused(&args("", mac), "", part);
    }
    refused(&args("", ""), r#","runtimeConfig":{"mac":7}"#, "no text");
}

#[test]
fn each_family_is_taken_from_the_first_source_that_names_one() {
    let four = args("10.244.0.9", "");
    assert_eq!(ips(&four, ""), ["10.244.0.9"]);
    let six = r#","runtimeConfig":{"ips":["fd00:10:244::9/64"]}"#;
    assert_eq!(ips(&four, six), ["fd00:10:244::9", "10.244.0.9"]);
    let other = r#","args":{"cni":{"ips":["10.244.0.8/24","fd00:10:244::8"]}},"runtimeConfig":{"IPs":["10.244.0.7"]}"#;
    assert_eq!(ips(&four, other), ["10.244.0.7", "fd00:10:244::8"]);
    assert_eq!(
        ips(&args("10.244.0.9/24,fd00:10:244::9", ""), ""),
        ["10.244.0.9", "fd00:10:244::9"]
    );
}

#[test]
fn an_address_that_the_ranges_do_not_give_is_refused() {
    for ip in ["10.244.0.1", "10.244.0.0", "10.244.0.255", "10.244.1.2"] {
        refused(&args(ip, ""), "", "gives pods 10.244.0.2 to 10.244.0.254");
    }
    refused(&args("nine", ""), "", "\"nine\" is no address");
    let two = r#","runtimeConfig":{"ips":["10.244.0.7","10.244.0.8"]}"#;
    refused(&args("", ""), two, "one address of a family");
}

#[test]
fn ranges_of_the_runtime_take_the_place_of_those_of_their_family() {
    let rest = r#","runtimeConfig":{"IPRanges":[[{"Subnet":"10.244.7.0/24","RangeStart":"10.244.7.20","RangeEnd":"10.244.7.29",
        "Gateway":""},{"Subnet":"10.244.7.0/24","RangeStart":"10.244.7.40"}]]}"#;
    let (network, _) = read(&args("10.244.7.21", ""), rest).unwrap();
    let ranges: Vec<String> = network.ranges.iter().map(PodRange::to_string).collect();
    assert_eq!(
        ranges,
        [
            "fd00:10:244::/64",
            "10.244.7.0/24 (10.244.7.20 to 10.244.7.29)",
            "10.244.7.0/24 (10.244.7.40 to 10.244.7.254)"
        ]
    );
    refused(&args("10.244.7.30", ""), rest, "10.244.7.20 to 10.244.7.29");
}

#[test]
fn a_range_of_the_runtime_that_meets_the_nodes_own_gives_what_both_have() {
    for (range, expected) in [
        (
            r#"{"subnet":"10.244.0.128/25"}"#,
            "10.244.0.130 to 10.244.0.254",
        ),
        (r#"{"subnet":"10.244.0.0/16"}"#, ""),
        (
            r#"{"subnet":"10.244.0.0/16","rangeStart":"10.244.0.50","rangeEnd":"10.244.1.9","gateway":"10.244.0.1"}"#,
            "10.244.0.50 to 10.244.0.254",
        ),
    ] {
        let rest = format!(r#","runtimeConfig":{{"ipRanges":[[{range}]]}}"#);
        let (network, _) = read(&args("", ""), &rest).unwrap();
        let ranges: Vec<String> = network.ranges.iter().map(PodRange::to_string).collect();
        let of = if expected.is_empty() {
            "10.244.0.0/24".into()
        } else {
            format!("10.244.0.0/24 ({expected})")
        };
        assert_eq!(ranges, ["fd00:10:244::/64".to_owned(), of], "{range}");
    }
}

#[test]
fn wrong_ranges_of_the_runtime_are_refused() {
    for (range, part) in [
        ("7", "it is no object"),
        (r#"{"rangeStart":"10.244.0.9"}"#, "subnet is missing"),
        (r#"{"subnet":"10.244.0.1/24"}"#, "host bits"),
        (
            r#"{"subnet":"10.9.0.0/24"}"#,
            "outside of network 10.244.0.0/16",
        ),
        (
            r#"{"subnet":"10.244.0.0/24","gateway":"10.244.0.254"}"#,
            "the first one, 10.244.0.1",
        ),
        (
            r#"{"subnet":"10.244.0.0/24","rangeStart":"10.244.1.9"}"#,
            "10.244.1.9 is no address of 10.244.0.0/24",
        ),
        (
            r#"{"subnet":"10.244.0.0/24","rangeEnd":"x"}"#,
            "rangeEnd \"x\" is no address",
        ),
        (
            r#"{"subnet":"10.244.0.0/16","rangeStart":"10.244.3.0"}"#,
            "none of the addresses of 10.244.0.0/24",
        ),
        (
            r#"{"subnet":"10.244.0.128/25","gateway":"10.244.0.129"}"#,
            "the first one, 10.244.0.1",
        ),
    ] {
        let rest = format!(r#","runtimeConfig":{{"ipRanges":[[{range}]]}}"#);
        refused(&args("", ""), &rest, part);
    }
}

#[test]
fn what_is_known_and_not_served_is_refused_by_name() {
    let error = read(
        &args("", ""),
        r#","runtimeConfig":{"DeviceID":"0000:00:1f.6"}"#,
    )
    .unwrap_err();
    assert_eq!(error.code, Code::Unsupported);
    assert!(error.msg.contains("deviceID"), "{error}");
}
