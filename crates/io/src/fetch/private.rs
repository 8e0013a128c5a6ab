//! Which addresses may be connected to: those of the public network, unless the user opens the
//! others.
//!
//! A list of URLs is written by strangers. One that leads, at once or by a redirect, to this
//! machine, its network or a cloud's metadata would have the answer stored. So each URL is checked
//! for an address in place of a host, and each host after its name has been looked up, for the
//! connection that is then made.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use reqwest::Url;
use reqwest::redirect::Policy;

/// The variables that name a proxy.
const PROXIES: [&str; 6] = ["http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"];

/// Networks that are not public though they look like it: first address, and how many bits all of
/// it share. From IANA's registries of special-purpose addresses, and what a cloud keeps for
/// itself.
const CLOSED_V4: &[(Ipv4Addr, u32)] = &[
    // This network.
    (Ipv4Addr::UNSPECIFIED, 8),
    (Ipv4Addr::new(10, 0, 0, 0), 8),
    // Behind a carrier's translation; Alibaba's metadata.
    (Ipv4Addr::new(100, 64, 0, 0), 10),
    (Ipv4Addr::new(127, 0, 0, 0), 8),
    // Azure's host.
    (Ipv4Addr::new(168, 63, 129, 16), 32),
    // Link-local: where clouds serve metadata and keys.
    (Ipv4Addr::new(169, 254, 0, 0), 16),
    (Ipv4Addr::new(172, 16, 0, 0), 12),
    // Protocols; Oracle's metadata.
    (Ipv4Addr::new(192, 0, 0, 0), 24),
    (Ipv4Addr::new(192, 0, 2, 0), 24),
    // Relays to 6to4.
    (Ipv4Addr::new(192, 88, 99, 0), 24),
    (Ipv4Addr::new(192, 168, 0, 0), 16),
    // Benchmarks.
    (Ipv4Addr::new(198, 18, 0, 0), 15),
    // Documentation, as 192.0.2.0/24.
    (Ipv4Addr::new(198, 51, 100, 0), 24),
    (Ipv4Addr::new(203, 0, 113, 0), 24),
    // Multicast; reserved, and the broadcast.
    (Ipv4Addr::new(224, 0, 0, 0), 4),
    (Ipv4Addr::new(240, 0, 0, 0), 4),
];

/// The same within `2000::/3`; all outside of it is closed but for NAT64.
const CLOSED_V6: &[(Ipv6Addr, u32)] = &[
    // Protocols, among them Teredo, benchmarks and ORCHID.
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 23),
    // Documentation.
    (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 32),
    (Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20),
];

/// Whether an address is no public server's.
pub(crate) fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            let within = |&(network, bits): &(Ipv4Addr, u32)| (v4.to_bits() ^ network.to_bits()) >> (32 - bits) == 0;
            CLOSED_V4.iter().any(within)
        }
        IpAddr::V6(v6) => embedded(v6).map_or_else(|| is_private_v6(v6), |v4| is_private(v4.into())),
    }
}

fn is_private_v6(v6: Ipv6Addr) -> bool {
    let within = |&(network, bits): &(Ipv6Addr, u32)| (v6.to_bits() ^ network.to_bits()) >> (128 - bits) == 0;
    let global = v6.segments()[0] >> 13 == 1;
    !global || CLOSED_V6.iter().any(within)
}

/// The IPv4 address that a mapped, a NAT64 or a 6to4 address leads to.
fn embedded(v6: Ipv6Addr) -> Option<Ipv4Addr> {
    let last = Ipv4Addr::from_bits((v6.to_bits() & 0xffff_ffff) as u32);
    match v6.segments() {
        [0, 0, 0, 0, 0, 0xffff, ..] | [0x64, 0xff9b, 0, 0, 0, 0, ..] => Some(last),
        [0x2002, high, low, ..] => Some(Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low))),
        _ => None,
    }
}

/// The address that a URL holds in place of a host name; the parser has undone decimal, octal,
/// hexadecimal and short forms.
fn literal(url: &Url) -> Option<IpAddr> {
    url.host_str()?.trim_start_matches('[').trim_end_matches(']').parse().ok()
}

/// Whether a URL of the user's own leads to a private address, as far as this machine can look it
/// up.
pub(crate) async fn is_inside(url: &Url) -> bool {
    match (literal(url), url.host_str()) {
        (Some(address), _) => is_private(address),
        (None, Some(name)) => {
            let found = tokio::net::lookup_host((name, 0)).await;
            found.is_ok_and(|mut found| found.any(|address| is_private(address.ip())))
        }
        (None, None) => false,
    }
}

/// A host that is not connected to.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Private(String);

/// Who may be connected to.
#[derive(Clone, Debug)]
pub(crate) struct Door {
    /// Everybody.
    open: bool,
    /// The names of the proxies, which may have any address: the user's environment names them.
    proxies: Arc<[String]>,
}

impl Door {
    /// `open` to all addresses; `direct` where no proxy is used.
    pub(crate) fn new(open: bool, direct: bool) -> Self {
        let named = PROXIES.iter().filter(|_| !direct).filter_map(|name| std::env::var(name).ok());
        Self { open, proxies: named.filter_map(|proxy| host_of_proxy(&proxy)).collect() }
    }

    /// Refuses a URL that needs no look-up, or of which the look-up would say nothing.
    pub(crate) fn check(&self, url: &Url) -> Result<(), Private> {
        match literal(url) {
            _ if self.open => Ok(()),
            Some(address) if is_private(address) => Err(Private(format!("{address} is a private address"))),
            None if self.is_proxy(url.host_str().unwrap_or_default()) => {
                Err(Private(format!("{} is the proxy", url.host_str().unwrap_or_default())))
            }
            _ => Ok(()),
        }
    }

    /// Those of a name's addresses that may be connected to.
    pub(crate) fn pass(&self, name: &str, mut found: Vec<SocketAddr>) -> Result<Vec<SocketAddr>, Private> {
        let first = found.first().copied();
        if !self.open && !self.is_proxy(name) {
            found.retain(|address| !is_private(address.ip()));
        }
        match first {
            Some(first) if found.is_empty() => {
                Err(Private(format!("{name} leads to the private address {}", first.ip())))
            }
            _ => Ok(found),
        }
    }

    /// Redirects as `reqwest` follows them, but through this door.
    pub(crate) fn redirects(&self, most: usize) -> Policy {
        let door = self.clone();
        Policy::custom(move |attempt| match door.check(attempt.url()) {
            Err(private) => attempt.error(private),
            Ok(()) if attempt.previous().len() > most => attempt.error("too many redirects"),
            Ok(()) => attempt.follow(),
        })
    }

    fn is_proxy(&self, name: &str) -> bool {
        self.proxies.iter().any(|proxy| proxy.eq_ignore_ascii_case(name))
    }
}

/// The host of `http://user:password@host:port` or `host:port`.
fn host_of_proxy(proxy: &str) -> Option<String> {
    let parsed = Url::parse(proxy).ok().filter(Url::has_host);
    Some(parsed.or_else(|| Url::parse(&format!("http://{proxy}")).ok())?.host_str()?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_public_is_private_to_its_last_address() {
        for range in [
            "0.0.0.0 0.255.255.255",
            "10.0.0.0 10.255.255.255",
            "100.64.0.0 100.127.255.255",
            "127.0.0.0 127.255.255.255",
            "168.63.129.16 168.63.129.16",
            "169.254.0.0 169.254.255.255",
            "172.16.0.0 172.31.255.255",
            "192.0.0.0 192.0.0.255",
            "192.0.2.0 192.0.2.255",
            "192.88.99.0 192.88.99.255",
            "192.168.0.0 192.168.255.255",
            "198.18.0.0 198.19.255.255",
            "198.51.100.0 198.51.100.255",
            "203.0.113.0 203.0.113.255",
        ] {
            let [first, last]: [u32; 2] = [0, 1].map(|nth| {
                range.split(' ').nth(nth).and_then(|text| text.parse::<Ipv4Addr>().ok()).expect("two").into()
            });
            let private = |bits: u32| is_private(Ipv4Addr::from(bits).into());
            assert!(private(first) && private(last), "{range}");
            assert!((first == 0 || !private(first - 1)) && !private(last + 1), "{range}");
        }
        assert!(!is_private(Ipv4Addr::new(223, 255, 255, 255).into()));
        for high in 224..=255 {
            assert!(is_private(Ipv4Addr::new(high, 255, 255, 255).into()), "{high}");
        }
    }

    #[test]
    fn version_six_is_open_for_global_addresses_only() {
        for text in [
            "::",
            "::1",
            "::ffff:10.0.0.1",
            "::ffff:127.0.0.1",
            "::10.0.0.1",
            "::ffff:0:8.8.8.8",
            "64:ff9b::a9fe:a9fe",
            "64:ff9b:1::808:808",
            "100::1",
            "2001::1",
            "2001:0:4136:e378:8000:63bf:3fff:fdd2",
            "2001:2::1",
            "2001:10::1",
            "2001:db8::1",
            "2002:7f00:1::1",
            "2002:a9fe:a9fe::",
            "3fff::1",
            "5f00::1",
            "fc00::1",
            "fd00:ec2::254",
            "fe80::1",
            "fec0::1",
            "ff02::1",
        ] {
            assert!(is_private(text.parse().expect("an address")), "{text}");
        }
        for text in
            ["2606:4700::1111", "2a00:1450::1", "::ffff:8.8.8.8", "64:ff9b::808:808", "2002:808:808::1", "2001:200::1"]
        {
            assert!(!is_private(text.parse().expect("an address")), "{text}");
        }
    }

    #[test]
    fn of_a_name_with_both_only_the_public_addresses_are_used() {
        let [public, private]: [SocketAddr; 2] =
            ["8.8.8.8:0", "10.0.0.1:0"].map(|text| text.parse().expect("an address"));
        let closed = Door { open: false, proxies: [].into() };
        assert_eq!(closed.pass("both", vec![private, public]).ok(), Some(vec![public]));
        let refused = closed.pass("inside", vec![private]).expect_err("it is private");
        assert_eq!(refused.to_string(), "inside leads to the private address 10.0.0.1");
        let open = Door { open: true, proxies: [].into() };
        assert_eq!(open.pass("inside", vec![private]).ok(), Some(vec![private]));
    }

    #[test]
    fn a_proxy_may_be_anywhere_and_is_no_source() {
        for text in ["http://me:pw@Proxy.lan:3128", "proxy.lan:3128", "proxy.lan", "https://proxy.lan/"] {
            assert_eq!(host_of_proxy(text).as_deref(), Some("proxy.lan"), "{text}");
        }
        let door = Door { open: false, proxies: ["proxy.lan".to_owned()].into() };
        let private = vec!["10.0.0.1:0".parse().expect("an address")];
        assert!(door.pass("proxy.lan", private.clone()).is_ok() && door.pass("proxy.lan.", private).is_err());
        let check = |url| door.check(&Url::parse(url).expect("a URL")).is_ok();
        assert!(!check("http://PROXY.lan:22/") && check("http://other.lan/") && !check("http://127.1/"));
    }
}
