//! sendto, sendmsg, sendmmsg to port 53: questions to name servers. The messages are read by the user half: here is only
//! as much of each as a question can have.

use common::{
    Call, Hook, Kind,
    event::Dns,
    wire::{self, Id, Question, UNSET, User, mark},
};

use crate::{
    draft::{CallDraft, TAIL, TEXT, kernel_read},
    filter,
    kernel::{self, Memory, clamp, copy_user},
    program::{
        on_return,
        send::{self, is_datagram},
        sys_exit::{Return, SocketArguments},
    },
    socket::{Given, Sock, given},
};

const PORT: u16 = 53;
/// `IPPROTO_UDP` (protocols(5)).
const UDP: u32 = 17;
/// The last message of a call that is told.
const LAST: i32 = 15;
/// Most parts of a message that are put together.
const PARTS: u64 = 4;
/// Most bytes of a message that are copied.
const MOST: i32 = Question::MOST as i32;

/// A message in the caller's memory.
struct Message {
    /// Where its destination is, and how long that is.
    name: [u64; 2],
    /// Its only part; none when `parts` has them.
    whole: Option<[u64; 2]>,
    /// An array of `struct iovec`, and its length.
    parts: [u64; 2],
}

impl Message {
    /// A message of a call, by number.
    #[inline(always)]
    fn of(it: &Return, asked: &SocketArguments, number: u32) -> Message {
        if it.is(Call::Sendto) {
            let whole = Some([asked.at[1], asked.at[2]]);
            return Message { name: [asked.at[4], asked.at[5]], whole, parts: [0; 2] };
        }
        // struct msghdr { void *name; int namelen; struct iovec *iov; size_t iovlen; … }; in struct mmsghdr a length behind
        let (name, parts) = if it.is_compat() {
            let at = asked.at[1] + u64::from(number) * 32;
            let [name, len, iov, count] = kernel::read_user::<[u32; 4]>(at).unwrap_or_default().map(u64::from);
            ([name, len], [iov, count])
        } else {
            let at = asked.at[1].wrapping_add(u64::from(number) * 64);
            let [name, len, iov, count] = kernel::read_user::<[u64; 4]>(at).unwrap_or_default();
            ([name, len & 0xffff_ffff], [iov, count])
        };
        Message { name, whole: None, parts }
    }

    /// The port that it goes to.
    #[inline(always)]
    fn port<M: Memory>(&self, sock: Sock) -> u16 {
        if self.name[0] == 0 {
            return sock.peer_port::<M>();
        }
        // struct sockaddr_in, struct sockaddr_in6 { u16 family; be16 port; … }
        u16::from_be(kernel::read_user::<u16>(self.name[0].wrapping_add(2)).unwrap_or(0))
    }

    /// A part, by number: where, and how many bytes.
    #[inline(always)]
    fn part(&self, it: &Return, number: u64) -> [u64; 2] {
        if let Some(whole) = self.whole {
            return if number == 0 { whole } else { [0; 2] };
        }
        if number >= self.parts[1] {
            return [0; 2];
        }
        // struct iovec { void *base; size_t len; }
        if it.is_compat() {
            kernel::read_user::<[u32; 2]>(self.parts[0] + number * 8).unwrap_or_default().map(u64::from)
        } else {
            kernel::read_user::<[u64; 2]>(self.parts[0].wrapping_add(number * 16)).unwrap_or_default()
        }
    }
}

/// Words of the draft's state: bytes of the message that are there, bytes that it has, and its number in the call.
const HAVE: usize = 0;
const LENGTH: usize = 1;
const NUMBER: usize = 2;

/// Goes on here, for good, when a call may have asked a name server and somebody wants to know.
#[inline(always)]
pub fn look<M: Memory>(it: &Return, asked: &SocketArguments, sock: Sock) {
    if filter::is_wanted(Kind::Dns as u32, filter::class_of(it.ret))
        && sock.protocol.0 == UDP
        // of sendmmsg(2) any message may be one
        && (it.is(Call::Sendmmsg) || Message::of(it, asked, 0).port::<M>(sock) == PORT)
        && let Some(draft) = it.draft::<Dns>()
    {
        draft.state[NUMBER] = 0;
        it.go_on(Kind::Dns);
    }
}

/// Looks at one message, and jumps here again for the next: the verifier follows one, and not sixteen.
#[inline(always)]
fn dns<M: Memory>(it: &Return) {
    let asked = it.socket_arguments();
    let Some(sock) = Sock::of::<M>(it.task, asked.at[0] as u32) else { return };
    if !is_datagram(sock) {
        return;
    }
    let Some(draft) = it.draft::<Dns>() else { return };
    let sent = if it.is(Call::Sendmmsg) && !it.is_error() { it.ret as u32 } else { 1 };
    let number = clamp::<LAST>(kernel_read(&draft.state[NUMBER])) as u32;
    let message = Message::of(it, &asked, number);
    if message.port::<M>(sock) == PORT && it.pass(Kind::Dns) {
        let untold = if number == LAST as u32 && sent > number + 1 { sent - number - 1 } else { UNSET };
        tell::<M>(it, sock, &message, untold);
    }
    if number < LAST as u32 && number + 1 < sent {
        draft.state[NUMBER] = u64::from(number) + 1;
        it.go_on(Kind::Dns);
    }
    send::tell::<M>(it, &asked, sock);
}
on_return!(dns_fast, dns_base, dns_perf, dns);

#[inline(always)]
fn tell<M: Memory>(it: &Return, sock: Sock, message: &Message, untold: u32) {
    let Some(draft) = it.begin::<M, Dns>(Kind::Dns) else { return };
    let [at, len] = message.name;
    draft.body.local = sock.local::<M, _, _>(draft);
    draft.body.peer = if at == 0 { sock.peer::<M, _, _>(draft) } else { given(draft, Given::by_user(at, len)) };
    draft.body.socket_uid = Id(sock.uid::<M>());
    draft.body.untold = Id(untold);
    copy_question(draft, it, message);
    // the policy has its say in the user half: more messages of this call may follow
    draft.send::<{ (TAIL + TEXT) as i32 }>(Hook::SysExit, Kind::Dns.lane());
}

/// Puts the beginning of a message together from its parts.
#[inline(always)]
fn copy_question(draft: &mut CallDraft<Dns>, it: &Return, message: &Message) {
    let start = clamp::<{ 3 * TEXT as i32 }>(kernel_read(&draft.used));
    draft.state[HAVE] = 0;
    draft.state[LENGTH] = 0;
    for number in 0..PARTS {
        let [at, len] = message.part(it, number);
        let have = clamp::<MOST>(kernel_read(&draft.state[HAVE]));
        let take = clamp::<MOST>(if len < MOST as u64 - have { len } else { MOST as u64 - have });
        // SAFETY: two beginnings of a message are shorter than the room behind the last text.
        let copied = unsafe { copy_user((&raw mut draft.tail).cast::<u8>().add((start + have) as usize), take, at) };
        draft.state[LENGTH] = kernel_read(&draft.state[LENGTH]) + len;
        if !copied {
            break;
        }
        draft.state[HAVE] = have + take;
    }
    let have = clamp::<MOST>(kernel_read(&draft.state[HAVE]));
    draft.body.question = wire::Dns { start: start as u32, len: have as u32, marks: mark::USER };
    draft.body.length = User(Id(kernel_read(&draft.state[LENGTH]) as u32));
    draft.used = start + have;
}
