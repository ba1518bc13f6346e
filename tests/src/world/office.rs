//! A manager at the office: the dashboard's HTTP API, driven as the page drives it.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, bail};
use reqwest::{Method, StatusCode, header};
use serde_json::{Value, json};

use super::http_client;

/// The owner's account.
const EMAIL: &str = "owner@venue.example";
const PASSWORD: &str = "correct horse battery staple";

/// A logged-in manager.
pub struct Office {
    client: reqwest::Client,
    base: String,
    cookie: String,
    /// The first venue.
    pub venue: String,
}

impl Office {
    /// Makes the owner's account on a fresh cloud and logs in.
    pub async fn first_login(address: SocketAddr) -> anyhow::Result<Self> {
        let mut office = Self {
            client: http_client(Duration::from_secs(60))?,
            base: format!("http://{address}"),
            cookie: String::new(),
            venue: String::new(),
        };
        let body = json!({
            "email": EMAIL, "name": "Owner", "password": PASSWORD,
            "venue_name": "Food truck park", "time_zone": "Europe/Bucharest",
        });
        office.log_in("/v1/setup", &body).await?;
        let session = office.get("/v1/session").await?;
        office.venue = text_at(&session, "/venues/0/id")?;
        Ok(office)
    }

    /// Logs in once more, after the session has ended.
    pub async fn log_in_again(&mut self) -> anyhow::Result<()> {
        self.log_in("/v1/session", &json!({"email": EMAIL, "password": PASSWORD})).await
    }

    async fn log_in(&mut self, path: &str, body: &Value) -> anyhow::Result<()> {
        let answer = self.request(Method::POST, path).json(body).send().await?;
        let cookie = answer.headers().get(header::SET_COOKIE).and_then(|c| c.to_str().ok()).map(str::to_owned);
        let status = answer.status();
        let text = answer.text().await?;
        if !status.is_success() {
            bail!("login: {status}: {text}");
        }
        let cookie = cookie.context("the first login set no cookie")?;
        self.cookie = cookie.split(';').next().unwrap_or_default().to_owned();
        Ok(())
    }

    /// A request with the manager's cookie.
    pub fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.client
            .request(method, format!("{}{path}", self.base))
            .header(header::COOKIE, &self.cookie)
            .header(header::ORIGIN, &self.base)
            .header("X-Requested-With", "gate-dashboard")
    }

    /// GET, expecting JSON.
    pub async fn get(&self, path: &str) -> anyhow::Result<Value> {
        answer(path, self.request(Method::GET, path).send().await?).await
    }

    /// GET of something below the venue.
    pub async fn look(&self, path: &str) -> anyhow::Result<Value> {
        self.get(&self.at(path)).await
    }

    /// GET of a page of a list below the venue, and where the next page is, as a path below the venue.
    pub async fn look_page(&self, path: &str) -> anyhow::Result<(Value, Option<String>)> {
        let path = self.at(path);
        let reply = self.request(Method::GET, &path).send().await?;
        let link = reply.headers().get(header::LINK).and_then(|link| link.to_str().ok()).unwrap_or_default().to_owned();
        let below = format!("/v1/venues/{}", self.venue);
        let next = link.split_once('>').and_then(|(target, _)| target.strip_prefix('<')?.strip_prefix(&below));
        Ok((answer(&path, reply).await?, next.map(str::to_owned)))
    }

    /// POST of something below the venue.
    pub async fn post(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        let path = self.at(path);
        let key = uuid::Uuid::now_v7().to_string();
        answer(&path, self.request(Method::POST, &path).header("Idempotency-Key", key).json(body).send().await?).await
    }

    /// PATCH of something below the venue.
    pub async fn patch(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        let path = self.at(path);
        answer(&path, self.request(Method::PATCH, &path).json(body).send().await?).await
    }

    /// GET of bytes below the venue.
    pub async fn fetch(&self, path: &str) -> anyhow::Result<Vec<u8>> {
        let path = self.at(path);
        let answer = self.request(Method::GET, &path).send().await?;
        let status = answer.status();
        if !status.is_success() {
            bail!("GET {path}: {status}: {}", answer.text().await?);
        }
        Ok(answer.bytes().await?.to_vec())
    }

    /// The dashboard's first page.
    pub async fn overview(&self) -> anyhow::Result<Value> {
        self.look("/overview").await
    }

    fn at(&self, path: &str) -> String {
        format!("/v1/venues/{}{path}", self.venue)
    }
}

async fn answer(path: &str, answer: reqwest::Response) -> anyhow::Result<Value> {
    let status = answer.status();
    let text = answer.text().await?;
    if !status.is_success() {
        bail!("{path}: {status}: {text}");
    }
    if status == StatusCode::NO_CONTENT || text.is_empty() {
        return Ok(Value::Null);
    }
    serde_json::from_str(&text).with_context(|| format!("{path} did not answer JSON"))
}

/// A text at a JSON pointer.
pub fn text_at(value: &Value, pointer: &str) -> anyhow::Result<String> {
    let found = value.pointer(pointer).and_then(Value::as_str);
    Ok(found.with_context(|| format!("no {pointer} in {value}"))?.to_owned())
}
