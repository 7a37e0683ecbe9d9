//! What configurations are read as, and what is said about wrong ones.

use super::*;
use std::vec;

const DEMO: &str = r#"{"cniVersion":"0.3.1","name":"mynet","type":"bash-cni","network":"10.244.0.0/16","subnet":"10.244.0.0/24"}"#;

fn network(input: &str) -> Result<NetConf, CniError> {
    Valid::read(input, "podwire")?.network(&Args::default())
}

fn podwire(rest: &str) -> Result<NetConf, CniError> {
    network(&format!(
        r#"{{"cniVersion":"1.0.0","name":"podwire","type":"podwire"{rest}}}"#
    ))
}

#[test]
fn the_demos_file_is_accepted_to_the_letter() {
    let conf = Valid::read(DEMO, "bash-cni").unwrap();
    assert_eq!(
        (conf.version, conf.name.as_str()),
        (Version::V0_3_1, "mynet")
    );
    assert_eq!(conf.log, Some(LogTarget(BASH_CNI_LOG.into())));
    let network = conf.network(&Args::default()).unwrap();
    assert_eq!(network.mode, Mode::Bridge(IfName::new("cni0").unwrap()));
    assert_eq!(
        network.ranges,
        vec![PodRange::parse("10.244.0.0/24").unwrap()]
    );
    assert_eq!(
        network.prefixes,
        vec!["10.244.0.0/16".parse::<ipnet::IpNet>().unwrap()]
    );
}

#[test]
fn a_podwire_configuration_has_ranges_of_both_families() {
    let conf = podwire(
        r#","ranges":["10.244.0.0/24","fd00:10:244::/64"],"network":["10.244.0.0/16"],"mtu":1450"#,
    )
    .unwrap();
    assert_eq!(
        (conf.mode, conf.ranges.len(), conf.prefixes.len(), conf.mtu),
        (Mode::Routed, 2, 1, Some(1450))
    );
}

#[test]
fn an_mtu_that_ipv6_cannot_have_is_refused_where_there_is_ipv6() {
    for (mtu, fine) in [(1279, false), (1280, true)] {
        let conf = podwire(&format!(r#","ranges":["fd00:10:244::/64"],"mtu":{mtu}"#));
        assert_eq!(conf.is_ok(), fine, "{mtu}");
        assert!(podwire(&format!(r#","ranges":["10.244.0.0/24"],"mtu":{mtu}"#)).is_ok());
    }
}

#[test]
fn everything_wrong_is_said_at_once() {
    let error = network(
        r#"{"cniVersion":"0.3.1","name":"mynet","type":"bash-cni","subnet":"10.244.0.1/24","mtu":12}"#,
    );
    let error = error.unwrap_err();
    assert_eq!(error.code, Code::Config);
    for part in [
        "key \"network\" is missing",
        "10.244.0.1/24 has host bits set",
        "mtu: 12",
    ] {
        assert!(error.msg.contains(part), "{part:?} in {:?}", error.msg);
    }
}

#[test]
fn wrong_ranges_are_refused() {
    for (rest, part) in [
        ("", "\"ranges\" is missing"),
        (r#","ranges":[]"#, "\"ranges\" is missing or empty"),
        (r#","ranges":"10.244.0.0/24""#, "is no list"),
        (r#","ranges":[7]"#, "7 is no text"),
        (r#","ranges":["10.244.0.0/31"]"#, "too small"),
        (
            r#","ranges":["10.244.0.0/24","10.244.0.128/25"]"#,
            "overlap",
        ),
    ] {
        let error = podwire(rest).unwrap_err();
        assert_eq!(error.code, Code::Config);
        assert!(error.msg.contains(part), "{part:?} in {:?}", error.msg);
    }
}

#[test]
fn a_subnet_outside_of_the_network_is_refused() {
    let error = network(&DEMO.replace("10.244.0.0/24", "10.9.0.0/24")).unwrap_err();
    assert!(
        error.msg.contains("lies outside of network 10.244.0.0/16"),
        "{}",
        error.msg
    );
}

#[test]
fn input_that_is_no_json_has_code_six() {
    for input in ["", "{", "[]", "null"] {
        assert_eq!(
            Valid::read(input, "podwire").unwrap_err().code,
            Code::Decode,
            "{input:?}"
        );
    }
}

#[test]
fn an_absent_version_means_the_oldest_and_an_unknown_one_is_refused() {
    assert_eq!(
        Valid::read(&DEMO.replace(r#""cniVersion":"0.3.1","#, ""), "x")
            .unwrap()
            .version,
        Version::V0_1_0
    );
    let error = Valid::read(&DEMO.replace("0.3.1", "9.9.9"), "x").unwrap_err();
    assert_eq!(error.code, Code::IncompatibleVersion);
    assert!(
        error.details.contains("9.9.9") && error.details.contains("1.1.0"),
        "{}",
        error.details
    );
}

#[test]
fn both_keys_of_gc_are_read() {
    for key in ["cni.dev/valid-attachments", "cni.dev/attachments"] {
        let input = format!(
            r#"{{"cniVersion":"1.1.0","name":"n","{key}":[{{"containerID":"c1","ifname":"eth0"}}]}}"#
        );
        assert_eq!(
            Valid::read(&input, "podwire")
                .unwrap()
                .attachments
                .unwrap()
                .len(),
            1
        );
    }
}

#[test]
fn a_verb_that_the_version_lacks_has_code_one() {
    let conf = Valid::read(DEMO, "bash-cni").unwrap();
    assert_eq!(
        conf.must_know("CHECK", Version::V0_4_0).unwrap_err().code,
        Code::IncompatibleVersion
    );
}

/// The host ports of a configuration with both families, as people write them, each with the pod's port.
fn ports(runtime: &str) -> Result<Vec<String>, CniError> {
    let conf = podwire(&format!(
        r#","ranges":["10.244.0.0/24","fd00:10:244::/64"],{runtime}"#
    ))?;
    let shown = conf.ports.iter();
    Ok(shown
        .map(|map| format!("{map}>{}", map.container_port))
        .collect())
}

#[test]
fn host_ports_are_read_in_the_case_of_every_runtime() {
    let camel = r#""runtimeConfig":{"portMappings":[{"hostPort":8080,"containerPort":80,"protocol":"tcp"},
        {"hostPort":53,"containerPort":5353,"protocol":"UDP","hostIP":"192.0.2.1"}]}"#;
    let go = r#""RuntimeConfig":{"PortMappings":[{"HostPort":8080,"ContainerPort":80,"Protocol":"tcp","HostIP":""},
        {"HostPort":53,"ContainerPort":5353,"Protocol":"udp","HostIP":"192.0.2.1"}]}"#;
    let wanted = ["8080/tcp>80", "192.0.2.1:53/udp>5353"];
    assert_eq!(ports(camel).unwrap(), wanted);
    assert_eq!(ports(go).unwrap(), wanted);
}

#[test]
fn an_entry_without_a_host_port_asks_for_nothing_and_without_a_protocol_for_tcp() {
    let runtime = r#""runtimeConfig":{"portMappings":[{"containerPort":80},{"hostPort":0,"containerPort":81},
        {"hostPort":82,"containerPort":82},{"hostPort":83,"containerPort":83,"protocol":"","hostIP":"0.0.0.0"},
        {"hostPort":83,"containerPort":83,"protocol":"Sctp","hostIP":"::"}]}"#;
    let wanted = ["82/tcp>82", "0.0.0.0:83/tcp>83", "[::]:83/sctp>83"];
    assert_eq!(ports(runtime).unwrap(), wanted);
}

#[test]
fn wrong_host_ports_are_all_named() {
    let wrong = r#""runtimeConfig":{"portMappings":[
        {"hostPort":70000,"containerPort":80},{"hostPort":"80","containerPort":80},{"hostPort":-1,"containerPort":80},
        {"hostPort":1},{"hostPort":1,"containerPort":0},{"hostPort":2,"containerPort":2,"protocol":"icmp"},
        {"hostPort":3,"containerPort":3,"hostIP":"here"},{"hostPort":4,"containerPort":4,"hostIP":"::1"},
        {"hostPort":5,"containerPort":5,"hostIP":"224.0.0.1"},7]}"#;
    let error = ports(wrong).unwrap_err();
    assert_eq!(error.code, Code::Config);
    for part in [
        "hostPort 70000 is no port",
        "hostPort \"80\" is no port",
        "hostPort -1 is no port",
        "containerPort is missing",
        "containerPort 0 is no port",
        "protocol \"icmp\" is none of tcp, udp, sctp",
        "hostIP \"here\" is no address",
        "hostIP ::1 cannot be served",
        "hostIP 224.0.0.1 is multicast",
        "portMappings: 7: it is no object",
    ] {
        assert!(error.msg.contains(part), "{part:?} is not in {}", error.msg);
    }
}

#[test]
fn a_host_port_that_is_asked_for_twice_is_refused() {
    for (one, other) in [("", "0.0.0.0"), ("192.0.2.1", "192.0.2.1"), ("", "")] {
        let runtime = format!(
            r#""runtimeConfig":{{"portMappings":[{{"hostPort":80,"containerPort":80,"hostIP":"{one}"}},
            {{"hostPort":80,"containerPort":81,"hostIP":"{other}"}}]}}"#
        );
        let error = ports(&runtime).unwrap_err();
        assert!(error.msg.contains("is asked for twice"), "{error}");
    }
}

#[test]
fn a_host_ip_of_a_family_that_the_pods_do_not_have_is_refused() {
    let asked = |host_ip: &str| {
        podwire(&format!(
            r#","ranges":["10.244.0.0/24"],"runtimeConfig":{{"portMappings":[{{"hostPort":80,"containerPort":80,"hostIP":"{host_ip}"}}]}}"#
        ))
    };
    for host_ip in ["::", "2001:db8::1"] {
        let error = asked(host_ip).unwrap_err();
        assert!(error.msg.contains("no IPv6 address"), "{error}");
    }
    assert_eq!(asked("").unwrap().ports.len(), 1);
}
