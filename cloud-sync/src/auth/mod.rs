//! Who is calling. Routes take the caller as an argument that only this module can make, so that a route that forgot to
//! ask does not compile.

mod address;
mod device;
mod known;
mod password;
mod person;
mod session;
mod throttle;

pub use address::Address;
#[cfg(test)]
pub(crate) use device::known as known_device;
pub use device::{AnyDevice, DeviceChannel, EnrolledDevice, revoked};
pub use known::{browser as known_browser, cookie as known_cookie};
pub use password::{PasswordHash, check as check_password, make as make_password};
pub use person::{Browser, Manager, Person, still_manages};
pub use session::{cookie_for, cookie_gone, end as end_session, start as start_session};
pub use throttle::{attempt, attempt_account, forgive};

#[cfg(test)]
mod tests;
