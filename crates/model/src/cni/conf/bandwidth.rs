//! Limits of bandwidth: keys of the configuration, `runtimeConfig.bandwidth`, or the pod's annotations.
//!
//! For each direction the first of these that names a rate is obeyed: what the operator wrote goes before what a pod asks for.
//! Rates and bursts are bits (CNI conventions); annotations are Kubernetes' quantities. Runtimes that know no burst send the
//! largest number that they have; a pod would then be without a limit for that long, so such a burst is none.

use super::asked::runtime;
use super::get;
use crate::bandwidth::{Bandwidth, Limit};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use serde_json::{Map, Value};

/// The capability by which a runtime hands over all of a pod's annotations.
const ANNOTATIONS: &str = "io.kubernetes.cri.pod-annotations";

/// What Kubernetes takes for a sensible rate: 1k to 1P.
const SENSIBLE: core::ops::RangeInclusive<u64> = 1_000..=1_000_000_000_000_000;

/// Names of one direction.
struct Direction {
    rate: &'static str,
    burst: &'static str,
    annotation: &'static str,
}

const INGRESS: Direction = Direction {
    rate: "ingressRate",
    burst: "ingressBurst",
    annotation: "kubernetes.io/ingress-bandwidth",
};

const EGRESS: Direction = Direction {
    rate: "egressRate",
    burst: "egressBurst",
    annotation: "kubernetes.io/egress-bandwidth",
};

pub(super) fn read(object: &Map<String, Value>, wrong: &mut Vec<String>) -> Bandwidth {
    Bandwidth {
        ingress: direction(object, &INGRESS, wrong),
        egress: direction(object, &EGRESS, wrong),
    }
}

fn direction(
    object: &Map<String, Value>,
    names: &Direction,
    wrong: &mut Vec<String>,
) -> Option<Limit> {
    let own = limit(object, names, wrong);
    if own.is_some() {
        return own;
    }
    let asked = runtime(object, "bandwidth").and_then(|value| {
        let keys = value.as_object();
        if keys.is_none() {
            wrong.push(format!("bandwidth: {value} is no object"));
        }
        limit(keys?, names, wrong)
    });
    let asked = asked.map(|limit| Limit {
        burst: limit.burst.filter(|burst| *burst <= limit.rate),
        ..limit
    });
    asked.or_else(|| annotated(object, names, wrong))
}

/// The limit that the keys of an object say.
fn limit(object: &Map<String, Value>, names: &Direction, wrong: &mut Vec<String>) -> Option<Limit> {
    let mut number = |key: &str| match get(object, key) {
        None | Some(Value::Null) => 0,
        Some(value) => value.as_u64().unwrap_or_else(|| {
            wrong.push(format!("{key}: {value} is no number of bits"));
            0
        }),
    };
    let (rate, burst) = (number(names.rate), number(names.burst));
    if rate == 0 && burst != 0 {
        wrong.push(format!(
            "{} is {burst}, without {}",
            names.burst, names.rate
        ));
    }
    (rate != 0).then_some(Limit {
        rate,
        burst: (burst != 0).then_some(burst),
    })
}

fn annotated(
    object: &Map<String, Value>,
    names: &Direction,
    wrong: &mut Vec<String>,
) -> Option<Limit> {
    let value = runtime(object, ANNOTATIONS)?.get(names.annotation)?;
    let text = value.as_str().unwrap_or_default().trim();
    if text.is_empty() {
        return None;
    }
    let rate = quantity(text).filter(|rate| SENSIBLE.contains(rate));
    if rate.is_none() {
        let key = names.annotation;
        wrong.push(format!(
            "annotation {key}: {text:?} is no rate between 1k and 1P bits a second"
        ));
    }
    rate.map(|rate| Limit { rate, burst: None })
}

/// A quantity of Kubernetes such as `10M`, `1.5Gi`, `2e6`, rounded down.
fn quantity(text: &str) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.');
    let (number, suffix) = text.split_at(digits.unwrap_or(text.len()));
    let (whole, part) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && part.is_empty() {
        return None;
    }
    let value: u128 = format!("0{whole}{part}").parse().ok()?;
    let shift = u32::try_from(part.len()).ok()?;
    let factor = match suffix {
        "" => 1,
        "k" => 1_000,
        "M" => 1_000_000,
        "G" => 1_000_000_000,
        "T" => 1_000_000_000_000,
        "P" => 1_000_000_000_000_000,
        "Ki" => 1 << 10,
        "Mi" => 1 << 20,
        "Gi" => 1 << 30,
        "Ti" => 1 << 40,
        "Pi" => 1 << 50,
        other => 10_u128.checked_pow(other.strip_prefix(['e', 'E'])?.parse().ok()?)?,
    };
    let value = value.checked_mul(factor)? / 10_u128.checked_pow(shift)?;
    u64::try_from(value).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read_all(value: &Value) -> (Bandwidth, Vec<String>) {
        let mut wrong = Vec::new();
        let object = value.as_object().unwrap();
        (read(object, &mut wrong), wrong)
    }

    fn both(ingress: Option<(u64, Option<u64>)>, egress: Option<(u64, Option<u64>)>) -> Bandwidth {
        let limit = |(rate, burst)| Limit { rate, burst };
        Bandwidth {
            ingress: ingress.map(limit),
            egress: egress.map(limit),
        }
    }

    #[test]
    fn the_operators_keys_go_before_the_runtimes_and_these_before_annotations() {
        let annotations =
            json!({ANNOTATIONS: {INGRESS.annotation: "1M", EGRESS.annotation: "2Mi"}});
        let mut asked = json!({"runtimeConfig": annotations});
        assert_eq!(
            read_all(&asked).0,
            both(Some((1_000_000, None)), Some((2 << 20, None)))
        );
        asked["runtimeConfig"]["Bandwidth"] =
            json!({"IngressRate": 3_000_000, "IngressBurst": 300_000, "EgressRate": 0});
        assert_eq!(
            read_all(&asked).0,
            both(Some((3_000_000, Some(300_000))), Some((2 << 20, None)))
        );
        asked["egressRate"] = json!(5000);
        asked["egressBurst"] = json!(70_000);
        assert_eq!(
            read_all(&asked),
            (
                both(Some((3_000_000, Some(300_000))), Some((5000, Some(70_000)))),
                Vec::new()
            )
        );
    }

    #[test]
    fn w27_a_burst_that_outlasts_a_second_is_none_unless_the_operator_wrote_it() {
        for burst in [u64::from(u32::MAX), u64::from(u32::MAX) * 8 - 1] {
            let asked = json!({"runtimeConfig": {"bandwidth": {"ingressRate": 10_000_000, "ingressBurst": burst}}});
            assert_eq!(read_all(&asked).0, both(Some((10_000_000, None)), None));
            let own = json!({"ingressRate": 10_000_000, "ingressBurst": burst});
            assert_eq!(
                read_all(&own).0,
                both(Some((10_000_000, Some(burst))), None)
            );
        }
    }

    #[test]
    fn quantities_are_read_as_kubernetes_writes_them() {
        for (text, value) in [
            ("10M", Some(10_000_000)),
            ("1.5k", Some(1500)),
            ("1.Ki", Some(1024)),
            (".5G", Some(500_000_000)),
            ("2e6", Some(2_000_000)),
            ("1P", Some(1_000_000_000_000_000)),
            ("", None),
            (".", None),
            ("M", None),
            ("-1M", None),
            ("10m", None),
            ("10 M", None),
            ("1e99", None),
            ("1e-3", None),
            ("99999999999999999999999999999999999999999", None),
        ] {
            assert_eq!(quantity(text), value, "{text:?}");
        }
    }

    #[test]
    fn wrong_limits_are_all_named() {
        let asked = json!({"ingressRate": "10M", "egressBurst": 8,
            "runtimeConfig": {ANNOTATIONS: {INGRESS.annotation: "10", EGRESS.annotation: "fast"}}});
        let (bandwidth, wrong) = read_all(&asked);
        assert!(bandwidth.is_unlimited());
        let wrong = wrong.join("; ");
        for part in [
            "ingressRate: \"10M\" is no number",
            "egressBurst is 8, without egressRate",
            "kubernetes.io/ingress-bandwidth: \"10\" is no rate",
            "\"fast\"",
        ] {
            assert!(wrong.contains(part), "{part:?} is not in {wrong}");
        }
        let (_, wrong) = read_all(&json!({"runtimeConfig": {"bandwidth": 7}}));
        assert!(wrong[0].contains("bandwidth: 7 is no object"), "{wrong:?}");
    }
}
