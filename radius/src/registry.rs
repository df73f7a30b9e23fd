//! The numbers of RADIUS.

use std::fmt;

macro_rules! registry {
    ($(#[$doc:meta])* $name:ident($inner:ty) { $($constant:ident = $value:expr, $text:expr;)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
        pub struct $name(pub $inner);

        impl $name {
            $(
                #[doc = $text]
                pub const $constant: Self = Self($value);
            )*
        }

        impl $name {
            /// The one of this name, in whatever case.
            #[must_use]
            pub fn named(name: &str) -> Option<Self> {
                $(
                    if name.eq_ignore_ascii_case($text) {
                        return Some(Self::$constant);
                    }
                )*
                None
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match *self {
                    $(Self::$constant => f.write_str($text),)*
                    Self(other) => write!(f, "({other})"),
                }
            }
        }
    };
}

registry! {
    /// What a packet is (RFC 2865 §3, RFC 2866 §3, RFC 5176 §2.3).
    Code(u8) {
        ACCESS_REQUEST = 1, "Access-Request";
        ACCESS_ACCEPT = 2, "Access-Accept";
        ACCESS_REJECT = 3, "Access-Reject";
        ACCOUNTING_REQUEST = 4, "Accounting-Request";
        ACCOUNTING_RESPONSE = 5, "Accounting-Response";
        ACCESS_CHALLENGE = 11, "Access-Challenge";
        DISCONNECT_REQUEST = 40, "Disconnect-Request";
        DISCONNECT_ACK = 41, "Disconnect-ACK";
        DISCONNECT_NAK = 42, "Disconnect-NAK";
        COA_REQUEST = 43, "CoA-Request";
        COA_ACK = 44, "CoA-ACK";
        COA_NAK = 45, "CoA-NAK";
    }
}

registry! {
    /// What an attribute is (RFC 2865 §5, RFC 2866 §5, RFC 2868, RFC 2869 §5, RFC 3162 §2, RFC 5176 §3, RFC 6911 §3).
    AttributeType(u8) {
        USER_NAME = 1, "User-Name";
        NAS_IP_ADDRESS = 4, "NAS-IP-Address";
        NAS_PORT = 5, "NAS-Port";
        SERVICE_TYPE = 6, "Service-Type";
        FRAMED_IP_ADDRESS = 8, "Framed-IP-Address";
        FRAMED_IP_NETMASK = 9, "Framed-IP-Netmask";
        FILTER_ID = 11, "Filter-Id";
        REPLY_MESSAGE = 18, "Reply-Message";
        STATE = 24, "State";
        CLASS = 25, "Class";
        VENDOR_SPECIFIC = 26, "Vendor-Specific";
        SESSION_TIMEOUT = 27, "Session-Timeout";
        IDLE_TIMEOUT = 28, "Idle-Timeout";
        CALLED_STATION_ID = 30, "Called-Station-Id";
        CALLING_STATION_ID = 31, "Calling-Station-Id";
        NAS_IDENTIFIER = 32, "NAS-Identifier";
        PROXY_STATE = 33, "Proxy-State";
        ACCT_STATUS_TYPE = 40, "Acct-Status-Type";
        ACCT_INPUT_OCTETS = 42, "Acct-Input-Octets";
        ACCT_OUTPUT_OCTETS = 43, "Acct-Output-Octets";
        ACCT_SESSION_ID = 44, "Acct-Session-Id";
        ACCT_SESSION_TIME = 46, "Acct-Session-Time";
        ACCT_INPUT_PACKETS = 47, "Acct-Input-Packets";
        ACCT_OUTPUT_PACKETS = 48, "Acct-Output-Packets";
        ACCT_TERMINATE_CAUSE = 49, "Acct-Terminate-Cause";
        ACCT_INPUT_GIGAWORDS = 52, "Acct-Input-Gigawords";
        ACCT_OUTPUT_GIGAWORDS = 53, "Acct-Output-Gigawords";
        EVENT_TIMESTAMP = 55, "Event-Timestamp";
        NAS_PORT_TYPE = 61, "NAS-Port-Type";
        TUNNEL_TYPE = 64, "Tunnel-Type";
        EAP_MESSAGE = 79, "EAP-Message";
        MESSAGE_AUTHENTICATOR = 80, "Message-Authenticator";
        ACCT_INTERIM_INTERVAL = 85, "Acct-Interim-Interval";
        NAS_PORT_ID = 87, "NAS-Port-Id";
        NAS_IPV6_ADDRESS = 95, "NAS-IPv6-Address";
        ERROR_CAUSE = 101, "Error-Cause";
        FRAMED_IPV6_ADDRESS = 168, "Framed-IPv6-Address";
        DNS_SERVER_IPV6_ADDRESS = 169, "DNS-Server-IPv6-Address";
    }
}

registry! {
    /// Whose attributes are in a Vendor-Specific one: a private enterprise number.
    Vendor(u32) {
        MICROSOFT = 311, "Microsoft";
    }
}

registry! {
    /// Why a session ended (RFC 2866 §5.10).
    TerminateCause(u32) {
        USER_REQUEST = 1, "User-Request";
        LOST_CARRIER = 2, "Lost-Carrier";
        IDLE_TIMEOUT = 4, "Idle-Timeout";
        SESSION_TIMEOUT = 5, "Session-Timeout";
        ADMIN_RESET = 6, "Admin-Reset";
        NAS_REBOOT = 11, "NAS-Reboot";
    }
}

registry! {
    /// Why a Disconnect-Request or CoA-Request is not carried out (RFC 5176 §3.6).
    ErrorCause(u32) {
        UNSUPPORTED_ATTRIBUTE = 401, "Unsupported Attribute";
        MISSING_ATTRIBUTE = 402, "Missing Attribute";
        NAS_IDENTIFICATION_MISMATCH = 403, "NAS Identification Mismatch";
        INVALID_REQUEST = 404, "Invalid Request";
        INVALID_ATTRIBUTE_VALUE = 407, "Invalid Attribute Value";
        SESSION_CONTEXT_NOT_FOUND = 503, "Session Context Not Found";
    }
}

/// Attributes of [`Vendor::MICROSOFT`] (RFC 2548).
pub mod microsoft {
    /// MS-MPPE-Send-Key (§2.4.2).
    pub const MPPE_SEND_KEY: u8 = 16;
    /// MS-MPPE-Recv-Key (§2.4.3).
    pub const MPPE_RECV_KEY: u8 = 17;
    /// MS-Primary-DNS-Server (§2.7.1).
    pub const PRIMARY_DNS_SERVER: u8 = 28;
    /// MS-Secondary-DNS-Server (§2.7.2).
    pub const SECONDARY_DNS_SERVER: u8 = 29;
    /// MS-Primary-NBNS-Server (§2.7.3).
    pub const PRIMARY_NBNS_SERVER: u8 = 30;
    /// MS-Secondary-NBNS-Server (§2.7.4).
    pub const SECONDARY_NBNS_SERVER: u8 = 31;
}
