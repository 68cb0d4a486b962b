// The switches for language and appearance; both live in this browser (`page_head.js`).
const select = (name, options, chosen, onchange) => {
  const label = document.createElement("label");
  const field = document.createElement("select");
  label.textContent = chatPage.text(name);
  field.id = `choose-${name}`;
  for (const [value, text] of options) {
    const option = document.createElement("option");
    option.value = value;
    option.textContent = text;
    option.selected = value === chosen;
    field.append(option);
  }
  field.addEventListener("change", () => onchange(field.value));
  label.append(field);
  return label;
};

element.firstElementChild.replaceChildren(
  select("language", Object.entries(chatPage.languages), chatPage.language, chatPage.setLanguage),
  select(
    "theme",
    ["system", "light", "dark"].map((theme) => [theme, chatPage.text(`theme_${theme}`)]),
    chatPage.theme(),
    chatPage.setTheme,
  ),
);
setTimeout(chatPage.closeSidebarOnPhone); // it would cover the chat
document.querySelector("#sidebar .toggle-button")?.setAttribute("aria-label", chatPage.text("sidebar"));
