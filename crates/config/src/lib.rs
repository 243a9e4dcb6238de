//! The configuration: one typed tree, read from YAML, or from a configuration of SRS or of nginx with its RTMP module.
//!
//! Every key is optional, and [`Config::default`] is what an empty file means: an origin on the standard ports.
//! Values are checked while they are read, so that a value out of range is reported like a syntax error: file,
//! line, column, the offending text and the fix ([`ConfigError`]). Reading ends at the first error.
//! `docs/guide/configuration.md` says what each key means to an operator.
//!
//! [`Settings`] is the configuration in force, and [`Part`] how whoever follows it hears of another one. Nothing here
//! knows who that is: no socket, no thread.

mod auth;
mod check;
mod children;
mod config;
mod convert;
mod diff;
mod document;
mod edge;
mod embed;
mod env;
mod error;
mod fault;
pub mod file;
mod foreign;
mod forward;
mod given;
mod heartbeat;
mod hints;
mod hooks;
mod host;
mod include;
mod kind;
mod load;
mod mount;
mod multitrack;
mod nginx;
mod part;
mod pattern;
mod pull;
mod record;
mod report;
mod scalar;
mod schema;
mod settings;
mod source;
mod sources;
mod srs;
mod start;
mod stream;
mod suggest;
#[cfg(test)]
mod tests;
mod tls;
mod tree;
mod upload;
mod value;
mod warnings;
mod web;
mod yaml;

pub use self::{
    auth::{
        Algorithm, Auth, AuthOverride, Check, Cidr, EdgeTokens, Jwt, Referer, SharedSecret,
        SignedToken,
    },
    children::{
        ChildrenLimits, Exec, Ingest, Restart, Transcode, filled, masked as masked_argument,
    },
    config::{
        Api, Basic, Config, Drain, Handover, Http, Limits, Metrics, Role, Rtmp, Tls, Vhost,
        VhostOverride,
    },
    convert::convert,
    diff::{Change, Diff, diff},
    document::Note,
    edge::{AuthBy, Edge, EdgeTls, ForwardQuery, Pin, Upstream},
    error::{ConfigError, Diagnostic, Origin},
    fault::Fault,
    forward::{Forward, ForwardTarget, NoTarget},
    given::Given,
    heartbeat::Heartbeat,
    hooks::{Fail, HookUrl, Hooks, HooksOverride},
    host::{HostPort, OriginName, Scheme},
    include::CONFIG_BYTES_MAX,
    load::texts,
    mount::{LiveFormat, Mount, MountPath},
    multitrack::{Encoder, Step},
    part::{Next, Part, Prepared, Ready, Unready},
    pattern::StreamPattern,
    pull::{Pull, PullFrom, PullPlace, PullProtocol, PullServer, When},
    record::{Keep, KeepOverride, Record, RecordContainer, RecordOverride, Split, SplitOverride},
    scalar::{Secret, Workers},
    schema::schema,
    settings::{Changes, Settings},
    sources::{SettingSource, Sources},
    start::{enter, from_start},
    stream::{
        Conflict, Container, Flush, Hls, HlsOverride, Play, PlayOverride, Publish, PublishOverride,
    },
    tls::{CertificateFiles, HttpTls, PortTls, RtmpTls, TlsVersion},
    upload::{Bucket, Endpoint, Upload},
    value::{Human, Rate, Size, parse_duration},
    web::WebOrigin,
};
