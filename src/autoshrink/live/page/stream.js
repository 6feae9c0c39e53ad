// Requests with the token, and server-sent events read with it, which EventSource cannot do.
const token = new URLSearchParams(location.hash.slice(1)).get("token") ?? "";
const authorised = { Authorization: `Bearer ${token}` };

export async function get(path) {
  const answer = await fetch(path, { headers: authorised });
  const found = await answer.json();
  if (!answer.ok) throw new Error(found.error ?? `HTTP ${answer.status}`);
  return { found, rights: answer.headers.get("x-autoshrink-rights") };
}

export async function post(path, value) {
  const headers = { ...authorised, "Content-Type": "application/json" };
  const answer = await fetch(path, { method: "POST", headers, body: JSON.stringify(value) });
  const found = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Error(found.error ?? `HTTP ${answer.status}`);
  return found;
}

function parsed(frame) {
  const found = { event: "message", data: "", id: null };
  for (const line of frame.split("\n")) {
    const at = line.indexOf(":");
    if (at > 0) {
      const name = line.slice(0, at), value = line.slice(at + 1).replace(/^ /, "");
      if (name === "data") found.data += value;
      else if (name === "event" || name === "id") found[name] = value;
    }
  }
  return found;
}

// Hands events on for ever; a lost connection is made anew from the last event that came.
export async function follow(path, last, { on, connected }) {
  let wait = 500;
  for (;;) {
    try {
      const answer = await fetch(path, { headers: { ...authorised, "Last-Event-ID": String(last) } });
      if (!answer.ok) throw new Error(`HTTP ${answer.status}`);
      connected(true);
      wait = 500;
      const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
      let buffer = "";
      for (;;) {
        const { value, done } = await reader.read();
        if (done) break;
        buffer += value.replaceAll("\r", "");
        const frames = buffer.split("\n\n");
        buffer = frames.pop();
        for (const frame of frames) {
          const one = parsed(frame);
          if (one.id !== null) last = Number(one.id);
          if (one.data) on(one.event, JSON.parse(one.data));
        }
      }
    } catch {
      // The server may come back: nothing is lost, since everything stands in the log.
    }
    connected(false);
    await new Promise((resolve) => setTimeout(resolve, wait));
    wait = Math.min(8000, wait * 2);
  }
}
