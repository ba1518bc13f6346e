//! One file per resource. Every route is listed here once and described by its own attributes.

mod audit;
mod batches;
mod conflicts;
mod enrolment;
mod gates;
mod health;
mod overview;
pub mod pages;
mod passes;
mod people;
mod products;
mod recounts;
mod replay;
mod rights;
mod session;
mod setup;
mod sync;
mod time;
mod vendors;
mod venues;
pub mod zones;

#[cfg(test)]
pub use batches::texts as batch_texts;
pub use venues::row as venue_row;

use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::App;

/// Every route of the API.
pub fn all() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(health::health))
        .routes(routes!(setup::needed, setup::first_run))
        .routes(routes!(session::who, session::log_in, session::log_out))
        .routes(routes!(venues::create))
        .routes(routes!(venues::show, venues::change))
        .routes(routes!(people::list))
        .routes(routes!(audit::list))
        .routes(routes!(overview::overview))
        .routes(routes!(overview::live))
        .routes(routes!(zones::list, zones::create))
        .routes(routes!(zones::change))
        .routes(routes!(recounts::recount))
        .routes(routes!(recounts::days))
        .routes(routes!(gates::list, gates::create))
        .routes(routes!(enrolment::invite))
        .routes(routes!(gates::revoke_device))
        .routes(routes!(vendors::list, vendors::create))
        .routes(routes!(vendors::change))
        .routes(routes!(products::list, products::create))
        .routes(routes!(batches::list, batches::create))
        .routes(routes!(batches::show))
        .routes(routes!(batches::sheet))
        .routes(routes!(batches::revoke))
        .routes(routes!(passes::lookup))
        .routes(routes!(passes::show))
        .routes(routes!(passes::revoke))
        .routes(routes!(passes::block))
        .routes(routes!(passes::unblock))
        .routes(routes!(passes::reissue))
        .routes(routes!(overview::alerts))
        .routes(routes!(overview::parked))
        .routes(routes!(conflicts::list))
        .routes(routes!(conflicts::show))
        .routes(routes!(conflicts::assign))
        .routes(routes!(conflicts::resolve))
        .routes(routes!(conflicts::figures))
        .routes(routes!(conflicts::retry))
        .routes(routes!(replay::replay))
        .routes(routes!(enrolment::enrol))
        .routes(routes!(sync::events))
        .routes(routes!(sync::changes))
        .routes(routes!(sync::live))
        .routes(routes!(time::time))
}

#[cfg(test)]
mod tests;
