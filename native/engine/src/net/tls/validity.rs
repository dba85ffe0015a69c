//! Whether certificates are valid today. Ours are taken in any case: the clock may be wrong, and clients
//! judge by their own.

use std::time::Duration;

use rustls::pki_types::UnixTime;
use webpki::{EndEntityCert, Error, KeyUsage};

use crate::net::tls::certificates;

/// A certificate that is out of its time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutOfTime {
    /// It was valid until `date`; else it will be from then on.
    pub expired: bool,
    /// Seconds since the year 1970.
    pub date: u64,
    /// Its place in the chain; that of the server itself is 0.
    pub place: usize,
    /// The hosts it is for.
    pub names: Vec<String>,
}

/// Those of the certificates of a PEM text that are not valid at a time, in seconds since the year 1970.
pub fn out_of_time(text: &[u8], now: u64) -> Vec<OutOfTime> {
    let now = UnixTime::since_unix_epoch(Duration::from_secs(now));
    let chain = certificates(text).unwrap_or_default();
    let found = chain.iter().enumerate().filter_map(|(place, der)| {
        let certificate = EndEntityCert::try_from(der).ok()?;
        // Nobody is trusted here, so this fails in any case; of all that can be wrong, the time is looked at first.
        let verdict = certificate
            .verify_for_usage(&[], &[], &[], now, KeyUsage::server_auth(), None, None)
            .err()?;
        let (expired, date) = match verdict {
            Error::CertExpired { not_after, .. } => (true, not_after),
            Error::CertNotValidYet { not_before, .. } => (false, not_before),
            _ => return None,
        };
        Some(OutOfTime {
            expired,
            date: date.as_secs(),
            place,
            names: certificate.valid_dns_names().map(Into::into).collect(),
        })
    });
    found.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// For a.example and b.example, from 2020-01-01 00:00:00 to 2020-01-02 00:00:00; behind it one that may sign,
    /// for nobody, from 2020-01-01 12:00:00 to 2051-01-01 00:00:00.
    const CHAIN: &[u8] = include_bytes!("validity.pem");
    const FROM: u64 = 1_577_836_800;
    const DAY: u64 = 24 * 3600;

    fn at(now: u64) -> Vec<(usize, bool, u64)> {
        let found = out_of_time(CHAIN, now);
        found.iter().map(|c| (c.place, c.expired, c.date)).collect()
    }

    #[test]
    fn each_is_compared_with_the_time() {
        let noon = FROM + DAY / 2;
        let end = 2_556_144_000;
        let not_yet = (1, false, noon);
        assert_eq!(at(0), [(0, false, FROM), not_yet]);
        assert_eq!(at(FROM - 1), [(0, false, FROM), not_yet]);
        assert_eq!(at(FROM), [not_yet]);
        assert_eq!(at(noon - 1), [not_yet]);
        assert_eq!(at(noon), []);
        assert_eq!(at(FROM + DAY), []);
        assert_eq!(at(FROM + DAY + 1), [(0, true, FROM + DAY)]);
        assert_eq!(at(end), [(0, true, FROM + DAY)]);
        assert_eq!(at(end + 1), [(0, true, FROM + DAY), (1, true, end)]);
        assert_eq!(at(u64::MAX), [(0, true, FROM + DAY), (1, true, end)]);
    }

    #[test]
    fn names_are_those_of_hosts() {
        let found = out_of_time(CHAIN, 0);
        assert_eq!(found[0].names, ["a.example", "b.example"]);
        assert!(found[1].names.is_empty());
    }

    #[test]
    fn invalid_certificates_have_no_validity() {
        assert_eq!(out_of_time(b"", 0), []);
        let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        assert_eq!(out_of_time(broken.as_bytes(), 0), []);
    }
}
