//! The six objects of SRS's documentation with the image of Weir: their containers run as processes, with the commands,
//! files and times that the objects say.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Duration,
};

use serde_json::Value;
use tokio::{net::TcpStream, task::block_in_place};
use weir_testkit::{
    eventually,
    ffmpeg::Ffmpeg,
    fixture::Fixture,
    hls::Playlist,
    http, manifests,
    netns::{Host, alone},
    packets::{Extent, Form, Recording, continuation, read},
    peer::{Encoder, Numbered, Viewer},
    pod::{Image, Place, Pod},
};

use crate::{BINARY, PICTURE, SOON};

const OBJECTS: &str = include_str!("../../../../deploy/check/srs/edge-cluster.yaml");

/// For eight seconds of stream, and a linger.
const TIMEOUT: Duration = Duration::from_secs(60);

const FIXTURE: Fixture = Fixture::AvcBFramesAac;
const STREAM: &str = "live/livestream";

/// The edges of a cluster share one address. The test's own network has one of them.
const EDGE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// The address and the ports of a Service, where its pods are one at `ip`.
fn ports(objects: &[Value], service: &str, app: &str, ip: IpAddr) -> Vec<SocketAddr> {
    let spec = &manifests::find(objects, "Service", service)["spec"];
    assert_eq!(spec["selector"]["app"], app, "{service} leads to them");
    let ports = spec["ports"].as_array().expect("ports").iter();
    ports
        .map(|port| {
            let to = port["targetPort"].as_u64().and_then(|to| to.try_into().ok());
            SocketAddr::new(ip, to.expect("a port"))
        })
        .collect()
}

async fn listens(address: SocketAddr) {
    eventually(&format!("somebody at {address}"), SOON, async || {
        TcpStream::connect(address).await.is_ok().then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_six_objects_run_with_only_the_image_changed() {
    if !alone("kubernetes::the_six_objects_run_with_only_the_image_changed") {
        return;
    }
    let objects = manifests::parse(OBJECTS);
    let kinds: Vec<_> = objects.iter().map(|object| object["kind"].as_str()).collect();
    let [deployment, service] = [Some("Deployment"), Some("Service")];
    let six = [deployment, service, service, Some("ConfigMap"), deployment, service];
    assert_eq!(kinds, six);
    let image = Image::of_weir(BINARY);
    let host = Host::new(1);
    let origin_ip = host.ip().into();
    let place = Place { host: Some(&host), services: &[] };
    let mut origin = Pod::start(&objects, "srs-origin-deploy", &image, place);
    assert_eq!(origin.names(), ["srs", "nginx", "srs-cp-files"]);
    let services = [("srs-origin-service".to_owned(), origin_ip)];
    let place = Place { host: None, services: &services };
    let mut edge = Pod::start(&objects, "srs-edge-deploy", &image, place);
    for (service, app, ip) in [
        ("srs-origin-service", "srs-origin", origin_ip),
        ("srs-http-service", "srs-origin", origin_ip),
        ("srs-edge-service", "srs-edge", EDGE),
    ] {
        for address in ports(&objects, service, app, ip) {
            listens(address).await;
        }
    }
    plays(SocketAddr::new(origin_ip, 80)).await;
    reloads(&objects, &mut edge);
    drains(&objects, &mut edge).await;
    for name in ["srs", "srs-cp-files"] {
        let container = origin.container(name);
        container.terminate();
        let status = block_in_place(|| container.wait_exit(TIMEOUT));
        assert!(status.success(), "{name}: {status}: {}", container.log());
    }
}

/// What is published through the edge is played from there, and over HLS from nginx.
async fn plays(nginx: SocketAddr) {
    let [rtmp, flv] =
        [format!("rtmp://{EDGE}:1935/{STREAM}"), format!("http://{EDGE}:8080/{STREAM}.flv")];
    let recordings = [&rtmp, &flv].map(|url| Recording::start(Ffmpeg::System, url, Form::Carried));
    let mut publisher = Ffmpeg::System.publish(&FIXTURE.file(), &rtmp);
    let played = tokio::task::spawn_blocking(move || {
        publisher.wait_success(TIMEOUT);
        let file = FIXTURE.file().display().to_string();
        let source = read(Ffmpeg::System, &file, Form::Carried, TIMEOUT);
        for (recording, url) in recordings.into_iter().zip([rtmp, flv]) {
            let played = recording.finish(TIMEOUT);
            continuation(&source, &played, Extent::ToEnd, Duration::ZERO)
                .unwrap_or_else(|why| panic!("{url}: {why}"));
        }
    });
    played.await.expect("RTMP and HTTP-FLV from the edge");
    let path = format!("{STREAM}.m3u8");
    eventually("the whole stream at nginx", TIMEOUT, async || {
        let mut answer = http::get(nginx, &path).await;
        let text = answer.text().await;
        (answer.status == 200 && Playlist::parse(&text).ended).then_some(())
    })
    .await;
    let url = format!("http://{nginx}/{path}");
    let hls = tokio::task::spawn_blocking(move || {
        let form = Form::Elementary(FIXTURE);
        let file = FIXTURE.file().display().to_string();
        let [source, played] = [&file, &url].map(|from| read(Ffmpeg::System, from, form, TIMEOUT));
        // Sound in MPEG-TS has the exact times of its sampling rate when FFmpeg reads it.
        continuation(&source, &played, Extent::ToEnd, Duration::from_millis(1))
            .unwrap_or_else(|why| panic!("{url}: {why}"));
    });
    hls.await.expect("HLS from nginx");
}

/// A ConfigMap that changes is taken in without a word from anybody.
fn reloads(objects: &[Value], edge: &mut Pod) {
    const MAP: &str = "srs-edge-config";
    let text = manifests::find(objects, "ConfigMap", MAP)["data"]["srs.conf"].as_str();
    let other = text.expect("a file").replace(" 1000;", " 900;");
    edge.swap(MAP, &other);
    let log = edge.container("srs").log().clone();
    let told = log.find(SOON, |line| {
        (line.contains("configuration reloaded") && line.contains("1000 -> 900")).then_some(())
    });
    assert!(told.is_some(), "{log}");
}

/// An edge that is to go: the hook, then SIGTERM; its clients are let go, and it ends within the time that the pod has.
async fn drains(objects: &[Value], edge: &mut Pod) {
    let spec =
        &manifests::find(objects, "Deployment", "srs-edge-deploy")["spec"]["template"]["spec"];
    let patience = spec["terminationGracePeriodSeconds"].as_u64().expect("seconds");
    let url = format!("rtmp://{EDGE}:1935/live/other");
    let published = Encoder::start(&url, Numbered::new(12), PICTURE).await;
    let mut viewer = Viewer::rtmp(&url).await;
    viewer.until_picture(published.next_number() + 12).await;
    let container = edge.container("srs");
    let (is_done, said) = block_in_place(|| container.pre_stop());
    assert!(is_done && said.contains("told process 1"), "{said}");
    container.terminate();
    // It goes on until it is let go.
    viewer.until_picture(published.next_number() + 6).await;
    let within = Duration::from_secs(patience);
    let status = block_in_place(|| container.wait_exit(within));
    assert!(status.success(), "{status}: {}", container.log());
    viewer.until_end().await;
}
