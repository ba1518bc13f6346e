//! The command line of the service.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use cloud_sync::{Config, ConfigError, OpenError, PublicUrl, RebuildError, RunError};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

const _: () = assert!(
    !gate_core::mutant::COMPILED_IN,
    "deliberate faults are for the test programs: build this one without the feature `mutants`"
);

/// Something failed that has no code of its own.
const FAILED: u8 = 1;
/// The configuration or the data folder can't be used.
const CONFIG: u8 = 3;
/// The address is in use or not this machine's.
const ADDRESS: u8 = 4;
/// The database or the master key can't be used.
const DATABASE: u8 = 5;

#[derive(Parser)]
#[command(
    name = "cloud-sync",
    version,
    about = "Issues passes, takes in what gates report, and shows one live picture.",
    after_help = "Examples:
  cloud-sync serve
      everything under ./var/cloud, reached at http://127.0.0.1:8443; the first visitor becomes the owner
  cloud-sync serve --data /var/lib/cloud-sync --public-url https://gates.example --behind-proxy
      behind a proxy on this machine that ends TLS and writes X-Forwarded-For; for one on another machine
      add --listen 0.0.0.0:8443
  cloud-sync openapi > openapi.json

Exit codes: 0 ended as asked, 1 failed, 2 wrong usage, 3 configuration or data folder,
  4 address in use or not ours, 5 database or master key damaged or missing"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serves the API and the dashboard until it is told to stop.
    Serve(Serve),
    /// Makes the data folder, the master key and the database, and ends.
    #[command(after_help = "Example:\n  cloud-sync init --data /var/lib/cloud-sync")]
    Init(Data),
    /// Makes every number anew from the stored events, and says what changed.
    #[command(after_help = "Stop the service first. Example:\n  cloud-sync rebuild --data /var/lib/cloud-sync")]
    Rebuild(Data),
    /// Says that the database was restored from a backup: gates take everything anew and send again what it lost.
    #[command(after_help = "Stop the service first. Example:\n  cloud-sync restored --data /var/lib/cloud-sync")]
    Restored(Data),
    /// Says that this machine's clock was wrong while it served: gates forget the time that they were told.
    #[command(
        after_help = "Set the clock right and stop the service first. Example:\n  cloud-sync time-was-wrong --data /var/lib/cloud-sync"
    )]
    TimeWasWrong(Data),
    /// Prints the OpenAPI document.
    Openapi,
}

#[derive(Args)]
struct Data {
    /// Folder of the database and the master key
    #[arg(long, default_value = "var/cloud", env = "CLOUD_SYNC_DATA")]
    data: PathBuf,
}

#[derive(Args)]
struct Serve {
    #[command(flatten)]
    data: Data,
    /// Address to listen on
    #[arg(long, default_value = "127.0.0.1:8443", env = "CLOUD_SYNC_LISTEN")]
    listen: SocketAddr,
    /// Address under which people and gates reach the service; by default http:// and the address listened on
    #[arg(long, env = "CLOUD_SYNC_PUBLIC_URL")]
    public_url: Option<PublicUrl>,
    /// A further host:port that gates may reach the service by (may be repeated)
    #[arg(long = "authority", value_name = "HOST:PORT")]
    authorities: Vec<String>,
    /// A proxy in front ends TLS and writes X-Forwarded-For, on this machine or another; allows other addresses than loopback
    #[arg(long, env = "CLOUD_SYNC_BEHIND_PROXY")]
    behind_proxy: bool,
    /// Log as JSON lines
    #[arg(long, env = "CLOUD_SYNC_LOG_JSON")]
    log_json: bool,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let json = matches!(&cli.command, Command::Serve(serve) if serve.log_json);
    start_log(json);
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(FAILED, &error),
    };
    let code = runtime.block_on(async {
        match cli.command {
            Command::Serve(asked) => serve(asked).await,
            Command::Init(asked) => init(asked).await,
            Command::Rebuild(asked) => change(asked, cloud_sync::rebuild).await,
            Command::Restored(asked) => change(asked, restored).await,
            Command::TimeWasWrong(asked) => change(asked, time_was_wrong).await,
            Command::Openapi => match cloud_sync::openapi().to_pretty_json() {
                Ok(text) => {
                    say(&text);
                    ExitCode::SUCCESS
                }
                Err(error) => fail(FAILED, &error),
            },
        }
    });
    // Held channels end with the process.
    runtime.shutdown_background();
    code
}

async fn serve(asked: Serve) -> ExitCode {
    let listener = match TcpListener::bind(asked.listen).await {
        Ok(listener) => listener,
        Err(error) => {
            let cures = [
                (ErrorKind::AddrInUse, "another program listens there; stop it or choose another --listen"),
                (ErrorKind::AddrNotAvailable, "this machine has no such address; choose another --listen"),
                (ErrorKind::PermissionDenied, "this user may not; choose a port above 1023"),
            ];
            let cure = cures
                .iter()
                .find(|(kind, _)| *kind == error.kind())
                .map_or("choose another --listen", |(_, cure)| cure);
            return fail(ADDRESS, &format!("{}: {error}: {cure}", asked.listen));
        }
    };
    let address = match listener.local_addr() {
        Ok(address) => address,
        Err(error) => return fail(ADDRESS, &error),
    };
    let mut config = Config::new(asked.data.data, asked.public_url.unwrap_or_else(|| PublicUrl::loopback(address)));
    config.authorities = asked.authorities.iter().map(|authority| authority.to_ascii_lowercase()).collect();
    config.behind_proxy = asked.behind_proxy;
    let told = match (signal(SignalKind::terminate()), signal(SignalKind::interrupt())) {
        (Ok(mut terminate), Ok(mut interrupt)) => {
            async move {
                tokio::select! {
                    _ = terminate.recv() => {}
                    _ = interrupt.recv() => {}
                }
            }
        }
        (Err(error), _) | (_, Err(error)) => return fail(FAILED, &error),
    };
    match cloud_sync::run(listener, config, told).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let code = match &error {
                RunError::Open(error) => code_of(error),
                RunError::Config(
                    ConfigError::OpenPlainHttp(_) | ConfigError::PublicPlainHttp(_) | ConfigError::Url(_),
                ) => CONFIG,
                RunError::Socket(_) => FAILED,
            };
            fail(code, &error)
        }
    }
}

async fn init(asked: Data) -> ExitCode {
    let config = Config::new(&asked.data, PublicUrl { secure: false, authority: "127.0.0.1:8443".to_owned() });
    match cloud_sync::open(config).await {
        Ok(_) => {
            let data = asked.data.display();
            say(&format!(
                "Ready: {data}/cloud.db and {data}/master.key.\nBack both up, apart from each other: the database is worthless without the key.\nNow run: cloud-sync serve --data {data}"
            ));
            ExitCode::SUCCESS
        }
        Err(error) => fail(code_of(&error), &error),
    }
}

/// Opens a data folder that is there already.
async fn existing(asked: &Data) -> Result<cloud_sync::App, ExitCode> {
    let database = asked.data.join("cloud.db");
    if !database.exists() {
        return Err(fail(
            CONFIG,
            &format!("{} is not there; name the service's folder with --data", database.display()),
        ));
    }
    let config = Config::new(&asked.data, PublicUrl { secure: false, authority: "127.0.0.1:8443".to_owned() });
    cloud_sync::open(config).await.map_err(|error| fail(code_of(&error), &error))
}

/// Does something to a whole database that is there already, and says what.
async fn change(
    asked: Data,
    work: impl AsyncFnOnce(&cloud_sync::App) -> Result<Vec<String>, RebuildError>,
) -> ExitCode {
    let app = match existing(&asked).await {
        Ok(app) => app,
        Err(code) => return code,
    };
    match work(&app).await {
        Ok(lines) => {
            for line in lines {
                say(&line);
            }
            ExitCode::SUCCESS
        }
        Err(error) => fail(FAILED, &error),
    }
}

async fn restored(app: &cloud_sync::App) -> Result<Vec<String>, RebuildError> {
    let gates = cloud_sync::restored(app).await?;
    Ok(vec![format!("{gates} gates will take everything anew and send again what they keep, each when it next asks.")])
}

async fn time_was_wrong(app: &cloud_sync::App) -> Result<Vec<String>, RebuildError> {
    let floor_ms = cloud_sync::time_was_wrong(app).await?;
    let now = jiff::Timestamp::from_millisecond(floor_ms).map_or_else(|error| error.to_string(), |at| at.to_string());
    Ok(vec![format!("Every gate will forget the time it was told, when it next asks. It is {now} by this machine.")])
}

fn code_of(error: &OpenError) -> u8 {
    match error {
        OpenError::Data { .. } => CONFIG,
        OpenError::Master(_) | OpenError::Database { .. } | OpenError::Rebuild(_) => DATABASE,
    }
}

fn start_log(json: bool) {
    let filter = tracing_subscriber::EnvFilter::try_from_env("CLOUD_SYNC_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    let colour = std::io::IsTerminal::is_terminal(&std::io::stderr());
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(colour);
    if json {
        log.json().init();
    } else {
        log.init();
    }
}

#[expect(clippy::print_stdout, reason = "this is the command's printer")]
fn say(text: &str) {
    println!("{text}");
}

#[expect(clippy::print_stderr, reason = "this is the command's printer")]
fn fail(code: u8, error: &dyn std::fmt::Display) -> ExitCode {
    eprintln!("cloud-sync: {error}");
    ExitCode::from(code)
}
