//! What went wrong on the way to the cloud, told apart by what to do next.

/// Why the cloud gave no proper answer.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SyncError {
    /// The configured address can't be used.
    #[error("{0}")]
    Address(String),
    /// Nobody answered in time: no network, no name, no TLS.
    #[error("the cloud can't be reached: {0}")]
    Unreachable(String),
    /// Somebody else answered: a captive portal, a proxy's error page.
    #[error("something between here and the cloud answered instead of it ({0}); a log-in page of the network?")]
    Stranger(String),
    /// The cloud said no.
    #[error("the cloud refused: {status} {code}{}", detail.as_deref().map(|text| format!(" ({text})")).unwrap_or_default())]
    Refused {
        /// HTTP status.
        status: u16,
        /// The problem's stable code.
        code: String,
        /// The problem in words.
        detail: Option<String>,
        /// The pause it asks for, seconds.
        retry_after_s: Option<u32>,
        /// The venue's signed statement that comes with it, not verified yet.
        statement: Option<Vec<u8>>,
    },
    /// The answer was longer than any answer may be.
    #[error("the answer has more than {0} bytes")]
    TooLong(usize),
    /// The answer is not what belongs there, or is not signed by whom it must be.
    #[error("the answer can't be believed: {0}")]
    Unbelievable(String),
}

impl SyncError {
    /// Whether the cloud may have refused because of what was sent: a smaller batch, or one without the poison item, may
    /// pass. A server that is down or asks for patience says nothing about the content.
    pub fn blames_content(&self) -> bool {
        match self {
            Self::Refused { status, code, .. } => matches!(status, 400 | 413 | 422 | 500) && code != "throttled",
            Self::Address(_) | Self::Unreachable(_) | Self::Stranger(_) | Self::TooLong(_) | Self::Unbelievable(_) => {
                false
            }
        }
    }

    /// The pause the cloud asked for, seconds.
    pub fn retry_after_s(&self) -> Option<u32> {
        match self {
            Self::Refused { retry_after_s, .. } => *retry_after_s,
            Self::Address(_) | Self::Unreachable(_) | Self::Stranger(_) | Self::TooLong(_) | Self::Unbelievable(_) => {
                None
            }
        }
    }

    /// The statement that came with "this device is withdrawn"; to be verified by whoever knows the root.
    pub fn withdrawal(&self) -> Option<&[u8]> {
        match self {
            Self::Refused { status: 403, code, statement, .. } if code == "device_revoked" => statement.as_deref(),
            Self::Refused { .. }
            | Self::Address(_)
            | Self::Unreachable(_)
            | Self::Stranger(_)
            | Self::TooLong(_)
            | Self::Unbelievable(_) => None,
        }
    }

    /// The statement that came with "this replica is ahead": the venue's word that its chain was cut. To be verified by
    /// whoever knows the root.
    pub fn reset(&self) -> Option<&[u8]> {
        match self {
            Self::Refused { code, statement, .. } if code == "replica_ahead" => statement.as_deref(),
            Self::Refused { .. }
            | Self::Address(_)
            | Self::Unreachable(_)
            | Self::Stranger(_)
            | Self::TooLong(_)
            | Self::Unbelievable(_) => None,
        }
    }

    /// Whether the cloud is there and has no objection to anything but what was sent or who sent it.
    pub fn is_a_verdict(&self) -> bool {
        match self {
            Self::Refused { status, .. } => !matches!(status, 401 | 408 | 429 | 502..=504),
            Self::Address(_) | Self::Unreachable(_) | Self::Stranger(_) | Self::TooLong(_) | Self::Unbelievable(_) => {
                false
            }
        }
    }

    /// The stable code of a refusal.
    pub fn code(&self) -> Option<&str> {
        match self {
            Self::Refused { code, .. } => Some(code),
            Self::Address(_) | Self::Unreachable(_) | Self::Stranger(_) | Self::TooLong(_) | Self::Unbelievable(_) => {
                None
            }
        }
    }
}
