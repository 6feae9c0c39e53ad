// The runs of a folder; those that appear later appear.
const token = new URLSearchParams(location.hash.slice(1)).get("token") ?? "";
const list = document.getElementById("runs");

async function show() {
  const answer = await fetch("api/runs", { headers: { Authorization: `Bearer ${token}` } });
  const found = await answer.json();
  list.replaceChildren(
    ...(found.runs ?? []).map((run) => {
      const item = document.createElement("li");
      const link = document.createElement("a");
      link.href = `runs/${encodeURIComponent(run.name)}/${location.hash}`;
      link.textContent = run.name;
      item.append(link, ` ${run.status}`);
      return item;
    }),
  );
  setTimeout(show, 2000);
}
show();
