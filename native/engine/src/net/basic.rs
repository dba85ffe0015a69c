//! Basic authentication (RFC 7617).

use data_encoding::BASE64;

/// The value of the header, for `user:password`.
pub(crate) fn value(credentials: &[u8]) -> String {
    format!("Basic {}", BASE64.encode(credentials))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_the_rfc() {
        assert_eq!(
            value(b"Aladdin:open sesame"),
            "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="
        );
    }
}
