//! `resolvConf`: the words of a resolver's file for the result.
//!
//! Follows resolv.conf(5) as the reference plugin reads it: `nameserver`, `domain`, `search` and `options`; the last `domain`
//! counts, the others add up. Whatever else stands there is passed over.

use model::cni::{CniError, Code, Dns};

/// What the file says; nothing if none is named.
///
/// # Errors
/// Code 5 if it cannot be read.
pub(crate) fn dns(path: Option<&str>) -> Result<Dns, CniError> {
    let Some(path) = path else {
        return Ok(Dns::default());
    };
    let text = std::fs::read_to_string(path).map_err(|error| {
        CniError::new(Code::Io, format!("reading resolvConf {path} failed"))
            .details(error.to_string())
    })?;
    Ok(read(&text))
}

fn read(text: &str) -> Dns {
    let mut dns = Dns::default();
    for line in text.lines() {
        let mut words = line.split_whitespace();
        let key = words.next().unwrap_or_default();
        let mut words = words.map(String::from);
        match key {
            "nameserver" => dns.nameservers.extend(words.next()),
            "domain" => dns.domain = words.next().unwrap_or_default(),
            "search" => dns.search.extend(words),
            "options" => dns.options.extend(words),
            _ => {}
        }
    }
    dns
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resolvers_file_is_read_with_its_comments_passed_over() {
        let dns = read(
            "# c\nnameserver 1.1.1.1\nnameserver  fd00::1\ndomain a.b\nsearch x.y z.w\n\
                        options ndots:5 rotate\nsortlist x\n; foo\nnameserver\n",
        );
        assert_eq!(dns.nameservers, ["1.1.1.1", "fd00::1"]);
        assert_eq!(
            (dns.domain.as_str(), dns.search.len(), dns.options.len()),
            ("a.b", 2, 2)
        );
    }
}
