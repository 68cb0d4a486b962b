// The list of conversations: drawn from the component's value, as text only, so that no name can be markup.
// Events: select {id}, edit {id, title, current} (rename), delete {id}.
const nav = () => element.querySelector("nav");

const iconButton = (className, icon, label, onclick) => {
  const button = document.createElement("button");
  button.type = "button";
  button.className = className;
  button.title = label;
  button.setAttribute("aria-label", label);
  button.textContent = icon;
  button.addEventListener("click", onclick);
  return button;
};

const rename = (row, item) => {
  const input = document.createElement("input");
  input.value = item.name;
  input.maxLength = props.value.longest;
  input.setAttribute("aria-label", chatPage.text("rename_prompt"));
  let done = false;
  const end = (keep) => {
    if (done) return;
    done = true;
    const title = input.value.trim();
    if (keep && title && title !== item.name) trigger("edit", { id: item.id, title, current: props.value.current });
    else draw();
  };
  input.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.isComposing) end(true);
    if (event.key === "Escape") end(false);
  });
  input.addEventListener("blur", () => end(true));
  row.replaceChildren(input);
  input.focus();
  input.select();
};

const draw = () => {
  const value = props.value || { items: [], current: "" };
  nav().setAttribute("aria-label", chatPage.text("conversations"));
  const rows = value.items.map((item) => {
    const row = document.createElement("div");
    row.className = item.id === value.current ? "row current" : "row";
    const open = document.createElement("button");
    open.type = "button";
    open.className = "open";
    open.textContent = item.name || chatPage.text("untitled");
    open.title = open.textContent;
    if (item.id === value.current) open.setAttribute("aria-current", "true");
    open.addEventListener("click", () => {
      trigger("select", { id: item.id });
      chatPage.closeSidebarOnPhone();
    });
    row.append(
      open,
      iconButton("rename", "✎", chatPage.text("rename"), () => rename(row, item)),
      iconButton("delete", "✕", chatPage.text("delete"), () => {
        if (window.confirm(chatPage.text("delete_prompt"))) trigger("delete", { id: item.id });
      }),
    );
    return row;
  });
  if (!rows.length) {
    const empty = document.createElement("p");
    empty.textContent = chatPage.text("no_conversations");
    rows.push(empty);
  }
  nav().replaceChildren(...rows);
};

watch("value", draw);
draw();
