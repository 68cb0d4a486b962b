// Who is logged in, and the way out, in the corner of the chat page.
(async () => {
  const told = await fetch("/account");
  if (!told.ok) return;
  const { name, logout } = await told.json(); // logout: a path of ours, the authentication service's address, or empty
  const own = logout.startsWith("/");
  const bar = document.createElement(own ? "form" : "div");
  bar.id = "account";
  if (own) { bar.method = "post"; bar.action = logout; }
  bar.style.cssText =
    "position:fixed;top:.4rem;right:.6rem;z-index:1000;display:flex;gap:.5rem;align-items:center;font-size:.85rem";
  const who = document.createElement("span");
  who.textContent = name;
  bar.append(who);
  if (logout) {
    const out = document.createElement(own ? "button" : "a");
    out.id = "logout";
    if (!own) out.href = logout;
    out.textContent = navigator.language.startsWith("zh") ? "退出" : "Log out";
    out.style.cssText =
      "cursor:pointer;text-decoration:underline;background:none;border:0;color:inherit;font:inherit";
    bar.append(out);
  }
  document.body.append(bar);
})();
