use std::time::Duration;

use crate::Config;

const NONE: [(&str, &str); 0] = [];

const FILE: &str = r#"
user www-data;
worker_processes auto;
events { worker_connections 1024; }
rtmp {
    server {
        listen 1935;
        listen [::]:1936 ipv6only=on;
        chunk_size 4096;
        drop_idle_publisher 15s;
        application live {
            live on;
            push rtmp://cdn.example.com/live/$name-key;
            push "other:1936";
            hls on;
            hls_path /srv/hls;
            hls_fragment 3;
            hls_playlist_length 1m;
            hls_variant _low BANDWIDTH=160000;
            hls_variant _hi BANDWIDTH=900000;
            record all;
            record_path /srv/rec;
            record_interval 15m;
            record_max_size 100M;
            on_publish http://backend/publish;
            on_done http://backend/done;
            allow publish 127.0.0.1;
            deny publish all;
            allow play all;
        }
        application cams {
            live on;
            pull rtmp://other.example.com/live/cam name=one static;
            pull rtmp://other.example.com/live;
            record manual;
            deny play 10.0.0.0/8;
        }
    }
}
http { server { listen 8081; location / { root /srv; } } }
"#;

fn load(text: &str) -> (Config, Vec<String>) {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("nginx.conf");
    std::fs::write(&path, text).expect("written");
    let (config, sources) =
        Config::load(Some(&path), NONE).unwrap_or_else(|error| panic!("{error}"));
    let (yaml, _) = crate::convert(&path).expect("it is read").expect("it is nginx's");
    let back = Config::parse(&yaml, "y").unwrap_or_else(|error| panic!("{yaml}\n{error}"));
    assert_eq!(back, config, "{yaml}");
    (config, sources.notes().iter().map(ToString::to_string).collect())
}

fn yaml(text: &str) -> Config {
    Config::parse(text, "weir.yaml").unwrap_or_else(|error| panic!("{text}\n{error}"))
}

#[test]
fn an_application_is_an_app() {
    let (found, notes) = load(&FILE.replace("/$name-key", ""));
    let expected = yaml(
        "rtmp: { listen: ['0.0.0.0:1935', '[::]:1936'], chunk_size: 4096 }\n\
         http: { listen: '0.0.0.0:8081' }\n\
         publish: { idle_timeout: 15s }\n\
         hls: { enabled: true, dir: /srv/hls, segment: 3s, window: 20, ladder: [_low, _hi] }\n\
         record: { dir: /srv/rec, streams: live/*, split: { duration: 15m, size: 100MiB } }\n\
         hooks: { on_publish: 'http://backend/publish', on_stop: 'http://backend/done', \
         on_unpublish: 'http://backend/done' }\n\
         auth: { publish: [cidr: { allow: 127.0.0.1 }] }\n\
         forward: [{ streams: live/*, to: 'rtmp://cdn.example.com/live' }, \
         { streams: live/*, to: 'rtmp://other:1936' }]\n\
         pull: [{ stream: cams/one, from: 'rtmp://other.example.com/live/cam', when: always }, \
         { stream: cams/*, from: 'rtmp://other.example.com/live/{stream}', when: demand }]\n",
    );
    assert_eq!(found, expected);
    for what in ["of HTTP only", "as SRS calls them", "who may is decided for all apps"] {
        assert_eq!(
            notes.iter().filter(|note| note.contains(what)).count(),
            1,
            "{what}: {notes:#?}"
        );
    }
}

#[test]
fn what_is_not_said_means_what_it_means_in_nginx() {
    let (found, notes) = load("rtmp { server { application live { live on; } } }");
    assert!(!found.hls.enabled && found.http.listen == Config::default().http.listen);
    assert_eq!(notes, [""; 0]);
}

#[test]
fn what_is_wrong_has_its_place() {
    for (text, place, what) in [
        ("rtmp { server { application live { liev on; } } }", "1:36", "did you mean `live`?"),
        ("rtmp { server { listen x; application live { } } }", "1:24", "not an address"),
        ("rtmp { server { application { live on; } } }", "1:17", "an application has a name"),
        (
            "rtmp { server { application a { live on; hls on; hls_fragment soon; } } }",
            "1:63",
            "`soon` is not a time",
        ),
        (
            "rtmp { server { application a { live on; allow publish; } } }",
            "1:48",
            "`publish` is not an address",
        ),
        ("rtmp { server { application a; } }", "1:29", "`application` is a block"),
    ] {
        let error = Config::parse(text, "nginx.conf").map(drop).expect_err(text).to_string();
        assert!(error.starts_with(&format!("error: nginx.conf:{place}: ")), "{text}: {error}");
        assert!(error.contains(what), "{text}: {error}");
    }
}

#[test]
fn rules_of_access_are_checks() {
    let auth = |rules: &str| {
        let text = format!("rtmp {{ server {{ application a {{ live on; {rules} }} }} }}");
        load(&text).0.auth
    };
    let is = |rules: &str, keys: &str| {
        assert_eq!(auth(rules), yaml(&format!("auth: {{ {keys} }}")).auth, "{rules}");
    };
    is("deny play 10.0.0.1; allow play all;", "play: [cidr: { deny: 10.0.0.1 }]");
    is("allow play 10.0.0.0/8; deny play all;", "play: [cidr: { allow: 10.0.0.0/8 }]");
    is("deny publish all;", "publish: [cidr: { deny: ['0.0.0.0/0', '::/0'] }]");
    is("allow publish all; deny publish 10.0.0.1;", "");
    is("deny 10.0.0.1;", "publish: [cidr: { deny: 10.0.0.1 }], play: [cidr: { deny: 10.0.0.1 }]");
}

#[test]
fn windows_are_long_enough() {
    let text = "rtmp { server { application a { live on; hls on; hls_path /h; hls_fragment 8s; \
        hls_playlist_length 2s; } } }";
    let hls = load(text).0.hls;
    assert_eq!((hls.segment, hls.window), (Duration::from_secs(8), 3));
}

#[test]
fn commands_run_while_a_stream_is_published() {
    let of = |directives: &str| {
        load(&format!(
            "rtmp {{ server {{ listen 1; application a {{ live on; {directives} }} }} }}"
        ))
    };
    let (config, notes) =
        of("exec ffmpeg -i rtmp://localhost/a/$name -c copy /rec/${name}.flv 2>>/var/log/x.log; \
         exec_publish notify.sh $app $name $addr; exec_play other;");
    let run: Vec<_> = config.exec.iter().map(|exec| exec.run.join(" ")).collect();
    let record = "ffmpeg -i rtmp://localhost/a/{stream} -c copy /rec/{stream}.flv";
    assert_eq!(run, [record, "notify.sh {app} {stream} $addr"]);
    let again: Vec<_> = config.exec.iter().map(|exec| exec.restart).collect();
    assert_eq!(again, [crate::Restart::Always, crate::Restart::Never]);
    assert_eq!(config.exec[0].streams[0].to_string(), "a/*");
    for what in ["goes to the log of Weir", "$app and $name alone", "exec_play: commands are run"] {
        assert!(notes.iter().any(|note| note.contains(what)), "{what}: {notes:#?}");
    }
    let (config, _) = of("respawn off; exec_push a;");
    assert_eq!(config.exec[0].restart, crate::Restart::Never);
    let shell = "rtmp { server { application a { exec bash -c 'echo $name'; } } }";
    let error = Config::parse(shell, "nginx.conf").map(|_| ()).expect_err("refused").to_string();
    assert!(error.contains("a shell would run what a stream is called"), "{error}");
}
