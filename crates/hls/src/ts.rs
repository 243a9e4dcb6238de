//! MPEG-TS segments (ISO/IEC 13818-1): one program, one video and one audio stream.
//!
//! Tables and packet fields are `libmpegts`'s. Its `Multiplexer` is not used: it leaves the length of audio PES packets
//! open, which the standard allows for video only, spends a packet on each PCR, and starts its counters anew when a
//! track comes.

mod earlier;
mod pace;
mod times;

use std::mem;

use bytes::Bytes;
use libmpegts::{
    pes::{PesHeader, PtsDts, STREAM_ID_AUDIO, STREAM_ID_PRIVATE_1, STREAM_ID_VIDEO, Timestamp},
    psi::{
        PAT_PID, PatBuilder, PatConfig, PatProgram, PmtBuilder, PmtConfig, PmtStream, PsiPacketizer,
    },
    ts::{PACKET_SIZE, TsPacketMut, build_pcr_packet},
};
use weir_media::{Frame, VideoCodec};

use self::{
    earlier::{Earlier, TIMES_BYTES, write_times},
    pace::Pace,
    times::{Decoding, Times, ticks},
};
use crate::{
    annex_b,
    container::Container,
    error::Damage,
    nal::Survey,
    tracks::{AudioFormat, Tracks, VideoFormat},
};

const PROGRAM: u16 = 1;
const PMT_PID: u16 = 0x1000;
const VIDEO_PID: u16 = 0x100;
const AUDIO_PID: u16 = 0x101;

/// How far the program clock is behind decoding times: what a player may buffer before decoding. 0.7 s, as in ffmpeg.
const PCR_DELAY: i64 = 700 * 90;

/// Longest distance between two PCRs: 80 ms, which leaves room below the standard's 100 ms (2.7.2).
const PCR_INTERVAL: i64 = 80 * 90;

/// Pictures up to this far apart get PCRs between them: 2 s, 24 packets. What is slower is hardly video, and a
/// publisher may claim any distance at no cost to itself.
const PCR_FILL_MAX: i64 = 2000 * 90;

/// The tables come first in a segment, one packet each; they are written when it ends.
const TABLES_BYTES: usize = 2 * PACKET_SIZE;

/// Room for the longest PES header we write: 9 bytes, PTS and DTS.
const PES_HEADER_MAX: usize = 9 + TIMES_BYTES;

/// Most that an audio PES packet holds: its length field has 16 bits and counts header bytes after itself.
const AUDIO_PES_MAX: usize = 0xFFFF - (PES_HEADER_MAX - 6);

/// An adaptation field that fills its packet, and its flag for what does not continue what was before.
const FIELD_ONLY: u8 = 183;
const DISCONTINUITY: u8 = 0x80;

/// What is reserved of what the segment before had: more than that grows as it comes.
const EXPECTED_MAX: usize = 1024 * 1024;

/// Room for an access unit that is kept from one segment to the next: a key frame of common size.
const STAGED_KEPT: usize = 256 * 1024;

/// Builds TS segments. Continuity counters run on from one segment to the next.
pub(crate) struct Muxer {
    /// The segment so far.
    segment: Vec<u8>,
    /// Bytes of the segment before: what the next one will need.
    expected: usize,
    /// Space for a PES header, then the staged access unit.
    staged: Vec<u8>,
    tables: Tables,
    video: Stream,
    audio: Stream,
    decoding: Decoding,
    pace: Pace,
    clock: Clock,
    /// Whether the open segment has tables.
    has_tables: bool,
}

/// Continuity counters of the next packets with payload: of pictures and of sound.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Counters {
    video: u8,
    audio: u8,
}

struct Stream {
    pid: u16,
    /// PES stream id.
    id: u8,
    /// Continuity counter of the next packet with payload.
    counter: u8,
}

/// The program clock.
struct Clock {
    pid: u16,
    /// The last PCR, in ticks of 90 kHz, not reduced to 33 bits.
    last: Option<i64>,
    /// Whether the open segment has none yet.
    due: bool,
    /// Whether the next one must say that the clock jumped.
    jumped: bool,
    /// The last one of the segment before.
    before: Option<i64>,
}

/// What the first packet of an access unit says in its adaptation field.
#[derive(Clone, Copy)]
struct Mark {
    pcr: Option<i64>,
    jumped: bool,
    random_access: bool,
}

impl Mark {
    const NONE: Self = Self { pcr: None, jumped: false, random_access: false };

    fn bytes(self) -> usize {
        match self {
            Self { pcr: Some(_), .. } => 8,
            Self { random_access: true, .. } => 2,
            _ => 0,
        }
    }
}

impl Muxer {
    pub fn new() -> Self {
        let stream = |pid, id| Stream { pid, id, counter: 0 };
        Self {
            segment: Vec::new(),
            expected: 0,
            staged: Vec::new(),
            tables: Tables::new(),
            video: stream(VIDEO_PID, STREAM_ID_VIDEO),
            audio: stream(AUDIO_PID, STREAM_ID_AUDIO),
            decoding: Decoding::default(),
            pace: Pace::default(),
            clock: Clock { pid: VIDEO_PID, last: None, due: true, jumped: false, before: None },
            has_tables: true,
        }
    }

    /// The counters of the packets that come next.
    pub fn counters(&self) -> Counters {
        Counters { video: self.video.counter, audio: self.audio.counter }
    }

    /// Begins what goes on with the segment before, for one who has had that: without tables, if it has none. `jumped`:
    /// its times do not continue those before.
    pub fn go_on(&mut self, tracks: &Tracks, has_tables: bool, jumped: bool) {
        self.begin(tracks, jumped);
        self.clock.due = jumped;
        self.has_tables = has_tables;
        if !has_tables {
            self.segment.clear();
        }
    }

    fn unstage(&mut self) {
        self.staged.clear();
        self.staged.resize(PES_HEADER_MAX, 0);
    }

    /// What the program clock is to say at a frame that is decoded at `dts`.
    fn now(&self, pid: u16, dts: i64) -> i64 {
        let leads = pid == AUDIO_PID && self.clock.pid == VIDEO_PID;
        let lead = if leads { self.decoding.lead() } else { 0 };
        dts.saturating_sub(lead).saturating_sub(PCR_DELAY)
    }

    /// Has the segment decoded as early as its pictures need it.
    fn decode_earlier(&mut self, segment: &mut [u8]) {
        let Some((by, dts)) = self.decoding.end() else { return };
        let (clock, near) = (self.clock.before, self.clock.last.unwrap_or_default());
        let mut earlier = Earlier { by, video: VIDEO_PID, near, dts, clock };
        earlier.apply(segment);
        self.clock.last = earlier.clock;
        if let Some(dts) = earlier.dts {
            self.decoding.ended_with(dts);
        }
    }

    /// Appends PCR-only packets until the clock is near enough to `now`.
    fn fill_clock(&mut self, now: i64) {
        let Some(last) = self.clock.last.filter(|last| now.saturating_sub(*last) <= PCR_FILL_MAX)
        else {
            return;
        };
        let mut next = last.saturating_add(PCR_INTERVAL);
        while next < now {
            self.push_clock(next);
            next = next.saturating_add(PCR_INTERVAL);
        }
    }

    /// Appends a packet that has only a PCR.
    fn push_clock(&mut self, at: i64) {
        let stream = if self.clock.pid == VIDEO_PID { &self.video } else { &self.audio };
        let counter = stream.counter.wrapping_sub(1) & 0x0F;
        let mut packet = [0; PACKET_SIZE];
        let jumped = mem::take(&mut self.clock.jumped);
        build_pcr_packet(&mut packet, self.clock.pid, counter, pcr(at), jumped);
        self.segment.extend_from_slice(&packet);
        self.clock.last = Some(at);
        self.clock.due = false;
    }

    /// The PCR that the next access unit carries itself, if it may carry one: the clock never goes back.
    fn tick(&mut self, pid: u16, now: i64) -> (Option<i64>, bool) {
        if pid != self.clock.pid {
            if self.clock.due {
                self.push_clock(self.clock.last.map_or(now, |last| last.max(now)));
            }
            return (None, false);
        }
        if self.clock.last.is_some_and(|last| now <= last) {
            return (None, false);
        }
        self.clock.last = Some(now);
        self.clock.due = false;
        (Some(now), mem::take(&mut self.clock.jumped))
    }
}

impl Container for Muxer {
    fn stage_video(
        &mut self,
        format: &VideoFormat,
        survey: Survey,
        frame: &Frame,
    ) -> Result<usize, Damage> {
        self.unstage();
        annex_b::convert(format, survey, &frame.payload, frame.is_key(), &mut self.staged)?;
        Ok(self.staged.len())
    }

    fn stage_rest(
        &mut self,
        format: &VideoFormat,
        survey: Survey,
        frame: &Frame,
    ) -> Result<usize, Damage> {
        self.unstage();
        annex_b::convert_rest(format, survey, &frame.payload, &mut self.staged)?;
        Ok(self.staged.len())
    }

    fn stage_audio(&mut self, format: &AudioFormat, frame: &Frame) -> Result<usize, Damage> {
        self.unstage();
        match format {
            AudioFormat::Aac { adts, .. } => adts.frame(&frame.payload, &mut self.staged)?,
            _ if frame.payload.is_empty() => return Err(Damage::Empty),
            _ if frame.payload.len() > AUDIO_PES_MAX => {
                return Err(Damage::AudioTooLong { len: frame.payload.len(), max: AUDIO_PES_MAX });
            }
            _ => self.staged.extend_from_slice(&frame.payload),
        }
        self.audio.id = pes_stream_id(format);
        Ok(self.staged.len())
    }

    fn begin(&mut self, tracks: &Tracks, discontinuity: bool) {
        self.segment.clear();
        self.segment.reserve(self.expected.min(EXPECTED_MAX));
        self.segment.resize(TABLES_BYTES, 0);
        self.has_tables = true;
        self.clock.pid = if tracks.video.is_some() { VIDEO_PID } else { AUDIO_PID };
        self.clock.due = true;
        if discontinuity {
            self.clock.last = None;
            self.clock.jumped = true;
            self.pace.restart();
        }
        self.clock.before = self.clock.last;
        self.decoding.begin(discontinuity);
    }

    fn write(&mut self, frame: &Frame) {
        let (pid, times) = if frame.is_picture() {
            (VIDEO_PID, self.decoding.place(frame))
        } else {
            let said = ticks(frame.dts.as_millis());
            let at = self.pace.place(said, &self.staged[PES_HEADER_MAX..]);
            (AUDIO_PID, Times { pts: at, dts: at })
        };
        let now = self.now(pid, times.dts);
        self.fill_clock(now);
        let (pcr, jumped) = self.tick(pid, now);
        // Without video each audio packet is a place to start at.
        let random_access = frame.is_key() || self.clock.pid == AUDIO_PID;
        let mark = Mark { pcr, jumped, random_access };
        let stream = if pid == VIDEO_PID { &mut self.video } else { &mut self.audio };
        let start = write_pes_header(stream.id, times, &mut self.staged);
        stream.packetize(&self.staged[start..], Some(mark), &mut self.segment);
    }

    fn write_rest(&mut self) {
        // The length of a PES packet of pictures is open: what has no header goes on with it.
        self.video.packetize(&self.staged[PES_HEADER_MAX..], None, &mut self.segment);
    }

    fn len(&self) -> usize {
        self.segment.len()
    }

    fn capacity(&self) -> usize {
        self.segment.capacity() + self.staged.capacity()
    }

    fn growth(&self, bytes: usize) -> usize {
        // Packets have 184 bytes of it each, two more are the first and the last one.
        let packets = (bytes / (PACKET_SIZE - 4) + 2) * PACKET_SIZE;
        let needed = self.segment.len() + packets;
        if needed <= self.segment.capacity() {
            return 0;
        }
        // As a vector grows.
        needed.max(self.segment.capacity() * 2) - self.segment.capacity()
    }

    fn take(&mut self, tracks: &Tracks) -> Bytes {
        let mut segment = mem::take(&mut self.segment);
        self.expected = segment.len();
        self.decode_earlier(&mut segment);
        if self.has_tables {
            self.tables.write(tracks, self.clock.pid, &mut segment);
        }
        segment.shrink_to_fit();
        self.staged.shrink_to(STAGED_KEPT);
        segment.into()
    }
}

impl Stream {
    /// Appends one PES packet, cut into TS packets; without a mark what belongs to the one before.
    fn packetize(&mut self, mut pes: &[u8], mut first: Option<Mark>, segment: &mut Vec<u8>) {
        let mut packet = [0; PACKET_SIZE];
        while !pes.is_empty() {
            let (mark, starts) = (first.unwrap_or(Mark::NONE), first.is_some());
            let room = PACKET_SIZE - 4 - mark.bytes();
            let (now, later) = pes.split_at(pes.len().min(room));
            self.head(&mut packet, starts, mark, room - now.len());
            packet[PACKET_SIZE - now.len()..].copy_from_slice(now);
            segment.extend_from_slice(&packet);
            (pes, first) = (later, None);
        }
    }

    /// Writes a packet's header and adaptation field, which has `stuffing` bytes more than its contents need.
    fn head(&mut self, packet: &mut [u8; PACKET_SIZE], starts: bool, mark: Mark, stuffing: usize) {
        let mut packet = TsPacketMut::from(packet);
        packet.init(self.pid, self.counter);
        self.counter = (self.counter + 1) & 0x0F;
        packet.set_payload();
        packet.set_adaptation_field(mark.bytes() + stuffing);
        if starts {
            packet.set_pusi();
        }
        if let Some(at) = mark.pcr {
            packet.set_pcr(pcr(at));
        }
        if mark.jumped {
            packet.set_discontinuity();
        }
        if mark.random_access {
            packet.set_rai();
        }
    }
}

/// What comes before `data`, which begins with tables, for one who has had something of the same file before, but not
/// what came since: a packet of each PID that says so (13818-1, 2.4.3.5), so that nobody looks for what is missing.
/// `counters` are those before `data`.
pub(crate) fn discontinuity(counters: Counters, data: &[u8]) -> Bytes {
    let mut out = Vec::with_capacity(4 * PACKET_SIZE);
    let (packets, _) = data.as_chunks::<PACKET_SIZE>();
    let tables = [PAT_PID, PMT_PID].into_iter().zip(packets);
    let tables = tables.map(|(pid, packet)| (pid, packet[3] & 0x0F));
    for (pid, next) in tables.chain([(VIDEO_PID, counters.video), (AUDIO_PID, counters.audio)]) {
        let [high, low] = pid.to_be_bytes();
        // No payload: the counter is that of the packet before.
        let counter = next.wrapping_sub(1) & 0x0F;
        let head = [0x47, high, low, 0x20 | counter, FIELD_ONLY, DISCONTINUITY];
        out.extend_from_slice(&head);
        out.resize(out.len() + PACKET_SIZE - head.len(), 0xFF);
    }
    out.into()
}

/// A time reduced to the 33 bits of the wire.
fn wire(ticks: i64) -> Timestamp {
    Timestamp::new(ticks.cast_unsigned())
}

/// A PCR in units of 27 MHz.
fn pcr(ticks: i64) -> u64 {
    wire(ticks).value() * 300
}

/// AC-3 travels as private stream 1 (ETSI TS 101 154), the others as MPEG audio.
fn pes_stream_id(format: &AudioFormat) -> u8 {
    match format {
        AudioFormat::Aac { .. } | AudioFormat::Mp3 { .. } => STREAM_ID_AUDIO,
        AudioFormat::Ac3 | AudioFormat::Eac3 => STREAM_ID_PRIVATE_1,
    }
}

/// Writes the header into the space before the staged data and returns where it begins.
fn write_pes_header(stream_id: u8, times: Times, staged: &mut [u8]) -> usize {
    let mut header = [0; 32];
    let stamps = PtsDts::new(wire(times.pts));
    let mut len =
        PesHeader::new(stream_id).with_pts_dts(stamps).with_data_alignment(true).write(&mut header);
    if stream_id == STREAM_ID_VIDEO {
        // Room for both times: only the segment's end shows whether they differ.
        len = PES_HEADER_MAX;
        write_times(&mut header, times.pts, times.dts);
    }
    let start = PES_HEADER_MAX - len;
    if stream_id != STREAM_ID_VIDEO {
        // `stage_audio` keeps it within 16 bits; zero, "unbounded", would be for video only.
        let length = u16::try_from(staged.len() - start - 6).unwrap_or(0);
        header[4..6].copy_from_slice(&length.to_be_bytes());
    }
    staged[start..PES_HEADER_MAX].copy_from_slice(&header[..len]);
    start
}

/// PAT and PMT.
struct Tables {
    pat: PsiPacketizer,
    pmt: PsiPacketizer,
    /// What the PMT said last: PCR PID, then stream types.
    said: Option<(u16, Vec<u8>)>,
    /// Five bits, counted up when the PMT says something new.
    version: u8,
}

impl Tables {
    fn new() -> Self {
        let mut pat = PsiPacketizer::new(PAT_PID);
        pat.set_sections(PatBuilder::build(PatConfig {
            transport_stream_id: 1,
            version: 0,
            programs: vec![PatProgram { program_number: PROGRAM, pid: PMT_PID }],
        }));
        Self { pat, pmt: PsiPacketizer::new(PMT_PID), said: None, version: 0 }
    }

    /// Writes both tables at the start of `segment`.
    fn write(&mut self, tracks: &Tracks, pcr_pid: u16, segment: &mut [u8]) {
        self.describe(tracks, pcr_pid);
        let (packets, _) = segment.as_chunks_mut::<PACKET_SIZE>();
        for (packetizer, packet) in [&mut self.pat, &mut self.pmt].into_iter().zip(packets) {
            packetizer.reset();
            packetizer.next(packet);
        }
    }

    fn describe(&mut self, tracks: &Tracks, pcr_pid: u16) {
        let streams: Vec<PmtStream> =
            [tracks.video.as_ref().map(video_entry), tracks.audio.as_ref().map(audio_entry)]
                .into_iter()
                .flatten()
                .collect();
        let says = (pcr_pid, streams.iter().map(|stream| stream.stream_type).collect());
        if self.said.as_ref() == Some(&says) {
            return;
        }
        if self.said.replace(says).is_some() {
            self.version = (self.version + 1) & 0x1F;
        }
        self.pmt.set_sections(PmtBuilder::build(PmtConfig {
            program_number: PROGRAM,
            pcr_pid,
            version: self.version,
            program_descriptors: Vec::new(),
            streams,
        }));
    }
}

/// Stream types: 13818-1, table 2-34.
fn video_entry(format: &VideoFormat) -> PmtStream {
    let stream_type = if format.codec == VideoCodec::Hevc { 0x24 } else { 0x1B };
    PmtStream { stream_type, elementary_pid: VIDEO_PID, stream_descriptors: Vec::new() }
}

/// Those of AC-3 are ATSC's (A/52, annex A), which is what HLS players expect.
fn audio_entry(format: &AudioFormat) -> PmtStream {
    let (stream_type, registration) = match format {
        AudioFormat::Aac { .. } => (0x0F, None),
        AudioFormat::Mp3 { low_rate: false } => (0x03, None),
        AudioFormat::Mp3 { low_rate: true } => (0x04, None),
        AudioFormat::Ac3 => (0x81, Some(b"AC-3")),
        AudioFormat::Eac3 => (0x87, Some(b"EAC3")),
    };
    let descriptor = |format: &[u8; 4]| [&[0x05, 4][..], format].concat();
    PmtStream {
        stream_type,
        elementary_pid: AUDIO_PID,
        stream_descriptors: registration.map(descriptor).unwrap_or_default(),
    }
}
