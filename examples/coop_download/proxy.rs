//! Proxies are not spoken to, and not passed by without a word: a URL that the environment sends through one is refused.
//! The variables are read as curl reads them, and loopback addresses are exempt, as in Go.

use std::env;
use std::net::IpAddr;

use crate::target::Target;

/// Why a URL is not downloaded, if the environment names a proxy for it.
pub fn refusal(target: &Target) -> Option<String> {
    let scheme = if target.https() { "https_proxy" } else { "http_proxy" };
    // In a CGI program, HTTP_PROXY is what a client sends as the header `Proxy`.
    let upper = target.https().then_some("HTTPS_PROXY");
    let names = [Some(scheme), upper, Some("all_proxy"), Some("ALL_PROXY")];
    let set = |name: &&str| env::var_os(name).is_some_and(|value| !value.is_empty());
    let name = names.into_iter().flatten().find(set)?;
    let exempt = env::var("no_proxy").or(env::var("NO_PROXY")).unwrap_or_default();
    let host = target.host();
    let direct = is_loopback(host) || is_listed(host, &exempt);
    (!direct).then(|| {
        format!(
            "{name} names a proxy, which is not supported: unset it, or put {host} into no_proxy"
        )
    })
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Whether a list of hosts, domains, addresses and networks (`10.0.0.0/8`) has `host` in it.
fn is_listed(host: &str, list: &str) -> bool {
    let items = list.split([',', ' ', '\t']).filter(|item| !item.is_empty());
    let (host, address) = (host.trim_end_matches('.'), host.parse::<IpAddr>().ok());
    items.map(str::to_ascii_lowercase).any(|item| match address {
        _ if item == "*" => true,
        Some(address) => is_in(address, &item),
        None => {
            let item = item.trim_start_matches("*.").trim_matches('.');
            host == item || host.strip_suffix(item).is_some_and(|below| below.ends_with('.'))
        }
    })
}

fn is_in(address: IpAddr, network: &str) -> bool {
    let (network, bits) =
        network.split_once('/').map_or((network, None), |(n, bits)| (n, Some(bits)));
    let Ok(network) = network.trim_matches(['[', ']']).parse::<IpAddr>() else { return false };
    let number = |address| match address {
        IpAddr::V4(v4) => (u128::from(v4.to_bits()) << 96, 32),
        IpAddr::V6(v6) => (v6.to_bits(), 128),
    };
    let ((a, width), (b, of_network)) = (number(address), number(network));
    let bits = bits.map_or(Some(width), |bits| bits.parse().ok().filter(|bits| *bits <= width));
    width == of_network && bits.is_some_and(|bits| bits == 0 || (a ^ b) >> (128 - bits) == 0)
}
