// What every page with a player has: the video, and a record of what happens to it. `weirStart` begins to play a URL
// with the player that the page has loaded.
'use strict';
const video = document.querySelector('video');
const weir = { errors: [], events: [], requests: [], shown: [], log: [], lag: 0, player: null };
const said = (what, value) => weir.events.push({ at: Date.now(), what, value });
const wrong = (...what) => weir.errors.push(what.map((it) => (typeof it === 'string' ? it : JSON.stringify(it))).join(': '));

for (const name of ['waiting', 'playing', 'ended']) {
    video.addEventListener(name, () => said(name, video.currentTime));
}
video.addEventListener('resize', () => said('size', video.videoHeight));

// Every request of the page, with the times of both clocks in one.
new PerformanceObserver((list) => {
    for (const { name, startTime, responseEnd, responseStatus } of list.getEntries()) {
        const time = (since) => Math.round(performance.timeOrigin + since);
        weir.requests.push({ url: name, from: time(startTime), to: time(responseEnd), status: responseStatus });
    }
}).observe({ type: 'resource', buffered: true });

// The number of the picture that is shown: eight bars at its top, white for one, the lowest bit first.
const SAMPLE_MILLIS = 100;
const BAR = 10;
const bars = Object.assign(document.createElement('canvas'), { width: 8 * BAR, height: BAR });
const context = bars.getContext('2d', { willReadFrequently: true });
const number = () => {
    context.drawImage(video, 0, 0, video.videoWidth, video.videoHeight / 5, 0, 0, bars.width, bars.height);
    const row = context.getImageData(0, BAR / 2, bars.width, 1).data;
    let number = 0;
    for (let bit = 0; bit < 8; bit += 1) number |= (row[4 * (bit * BAR + BAR / 2)] > 127) << bit;
    return number;
};
let sampled = performance.now();
setInterval(() => {
    const now = performance.now();
    weir.lag = Math.max(weir.lag, now - sampled - SAMPLE_MILLIS);
    sampled = now;
    if (video.readyState < 2 || video.paused || !video.videoHeight) return;
    const at = Date.now();
    weir.shown.push({ at, number: number() });
}, SAMPLE_MILLIS);

const play = () => video.play().catch((error) => wrong('play', String(error)));

const start = {
    // As its own documentation has it for live streams.
    'mpegts.js': (url) => {
        const type = new URL(url).pathname.endsWith('.ts') ? 'mpegts' : 'flv';
        weir.player = mpegts.createPlayer({ type, isLive: true, url });
        weir.player.on(mpegts.Events.ERROR, wrong);
        weir.player.attachMediaElement(video);
        weir.player.load();
        play();
    },
    'hls.js': (url, options) => {
        // What it says of itself, for whoever looks for the cause of something.
        const say = (...said) => weir.log.push(`${Date.now()} ${said.map(String).join(' ')}`);
        const debug = options.debug && { trace: say, debug: say, log: say, info: say, warn: say, error: say };
        weir.player = new Hls({ lowLatencyMode: true, ...options, debug });
        weir.player.on(Hls.Events.ERROR, (_, data) => {
            const { details, fatal, reason, error, response } = data;
            wrong(details, fatal ? 'fatal' : 'goes on', reason ?? error?.message ?? '', response?.code ?? '');
        });
        weir.player.on(Hls.Events.LEVEL_SWITCHED, (_, { level }) => said('level', level));
        weir.player.loadSource(url);
        weir.player.attachMedia(video);
        play();
    },
    'shaka-player': (url, options) => {
        shaka.polyfill.installAll();
        weir.player = new shaka.Player();
        weir.player.addEventListener('error', ({ detail }) => wrong('shaka', detail.code, detail.data));
        weir.player.configure(options);
        weir.player.attach(video)
            .then(() => weir.player.load(url))
            .then(play)
            .catch((error) => wrong('shaka', error.code ?? String(error), error.data ?? ''));
    },
    'video.js': (url, options) => {
        weir.player = videojs(video, { html5: { vhs: { overrideNative: true, ...options } } });
        weir.player.on('error', () => wrong('video.js', weir.player.error()?.message ?? ''));
        weir.player.src({ src: url, type: 'application/x-mpegURL' });
        play();
    },
    // An endless MP4, fetched and handed to the browser. A file that ends is asked for again, and goes on where it was.
    mse: (url, { mime }) => {
        const source = new MediaSource();
        video.src = URL.createObjectURL(source);
        source.addEventListener('sourceopen', async () => {
            try {
                const buffer = source.addSourceBuffer(mime);
                const append = (bytes) => new Promise((resolve, reject) => {
                    buffer.addEventListener('updateend', resolve, { once: true });
                    buffer.addEventListener('error', () => reject(new Error('refused')), { once: true });
                    buffer.appendBuffer(bytes);
                });
                for (;;) {
                    const response = await fetch(url);
                    if (!response.ok) throw new Error(`${response.status} ${await response.text()}`);
                    const reader = response.body.getReader();
                    said('file', response.status);
                    for (let { done, value } = await reader.read(); !done; { done, value } = await reader.read()) {
                        await append(value);
                        const { buffered } = buffer;
                        if (buffered.length > 0 && video.currentTime < buffered.start(buffered.length - 1)) {
                            video.currentTime = buffered.start(buffered.length - 1);
                        }
                    }
                }
            } catch (error) {
                wrong('mse', String(error));
            }
        });
        play();
    },
    native: (url) => {
        video.addEventListener('error', () => wrong('native', video.error.message));
        video.src = url;
        play();
    },
};
