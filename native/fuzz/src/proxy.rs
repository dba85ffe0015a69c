//! The PROXY protocol and `X-Forwarded-For`: what proxies say of their clients.

use std::net::IpAddr;

use sockeye_protocol::networks::{Networks, forwarded};
use sockeye_protocol::proxy::{Malformed, ProxyHeader, parse};

/// No header is longer: the fixed part of version 2, and what may follow.
const MOST: usize = 16 + 4096;

/// The bytes are a header and what follows it, and also the list of a header.
pub fn check(data: &[u8]) {
    match parse(data) {
        Ok(None) => assert!(data.len() < MOST, "waits for ever"),
        Ok(Some((header, len))) => {
            assert!(0 < len && len <= data.len() && len <= MOST);
            for cut in 0..len {
                assert_eq!(parse(&data[..cut]), Ok(None), "cut at {cut}");
            }
            assert_eq!(parse(&data[..len]), Ok(Some((header, len))));
            if let ProxyHeader::Proxied {
                source,
                destination,
            } = header
            {
                assert_eq!(source.is_ipv4(), destination.is_ipv4());
            }
        }
        Err(Malformed) => {
            let mut more = data.to_vec();
            more.extend_from_slice(b"\r\nPROXY UNKNOWN\r\n");
            assert_eq!(parse(&more), Err(Malformed), "what is wrong stays wrong");
        }
    }
    list(data);
}

/// Who is named is none of our own, unless all are.
fn list(data: &[u8]) {
    let mut trusted = Networks::new();
    let all = [([10, 0, 0, 0], 8), ([127, 0, 0, 1], 32)];
    for (address, prefix) in all {
        assert!(trusted.add(IpAddr::from(address), prefix));
    }
    let entries: Vec<&[u8]> = data.split(|b| *b == b',').map(<[u8]>::trim_ascii).collect();
    let one = |entry: &[u8]| forwarded([entry].into_iter(), &trusted);
    if let Some(client) = forwarded(entries.iter().copied(), &trusted) {
        let ours = |entry: &&[u8]| one(entry).is_some_and(|address| trusted.contains(address));
        let all = entries.iter().all(ours);
        assert!(all || !trusted.contains(client), "{client}");
    }
}
