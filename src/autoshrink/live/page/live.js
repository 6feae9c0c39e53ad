// The record, and events as they come.
const token = new URLSearchParams(location.hash.slice(1)).get("token") ?? "";
const headers = { Authorization: `Bearer ${token}` };
const shown = document.getElementById("record");

const answer = await fetch("api/record", { headers });
const record = await answer.json();
shown.textContent = JSON.stringify(record, null, 1);

if (answer.ok) {
  const stream = await fetch("api/events", { headers: { ...headers, "Last-Event-ID": String(record.sequence) } });
  const reader = stream.body.pipeThrough(new TextDecoderStream()).getReader();
  for (;;) {
    const { value, done } = await reader.read();
    if (done) break;
    const line = document.createElement("li");
    line.textContent = value;
    document.getElementById("events").append(line);
  }
}
