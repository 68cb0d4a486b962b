// Runs before Gradio's own scripts: language, appearance, clipboard without HTTPS, and pictures out of videos.
(() => {
  "use strict";
  const given = __GIVEN__; // languages, cookie, frames, pixels: filled in by page_shell.py

  // Language: the cookie the switch sets, else the browser's first that there is a table for. The server has the same rule.
  const stored = document.cookie.split("; ").find((cookie) => cookie.startsWith(`${given.cookie}=`));
  const names = Object.keys(given.languages);
  const spoken = (navigator.languages || [navigator.language]).map((language) => language.toLowerCase().split("-")[0]);
  const first = spoken.flatMap((language) => names.filter((name) => name.split("-")[0] === language))[0];
  const wanted = stored && decodeURIComponent(stored.slice(given.cookie.length + 1));
  const language = names.includes(wanted) ? wanted : first || names[0];
  // Gradio translates by navigator.language and has no switch of its own.
  Object.defineProperty(navigator, "language", { get: () => language });
  document.documentElement.lang = language;

  // Appearance: Gradio follows the system, so a choice is told to it as if the system had it.
  const DARK = "(prefers-color-scheme: dark)";
  const system = window.matchMedia(DARK);
  const query = new EventTarget();
  const theme = () => localStorage.getItem("theme") || "system";
  Object.defineProperty(query, "matches", { get: () => (theme() === "system" ? system.matches : theme() === "dark") });
  query.media = DARK;
  const changed = () => {
    document.documentElement.style.colorScheme = query.matches ? "dark" : "light";
    query.dispatchEvent(new Event("change"));
  };
  system.addEventListener("change", changed);
  const matchMedia = window.matchMedia.bind(window);
  window.matchMedia = (media) => (media === DARK ? query : matchMedia(media));
  changed();

  // Browsers give pages without HTTPS no clipboard; the older way still copies there.
  if (!navigator.clipboard) {
    const writeText = async (text) => {
      const field = document.createElement("textarea");
      field.value = text;
      field.style.position = "fixed";
      field.style.opacity = "0";
      document.body.append(field);
      field.select();
      const copied = document.execCommand("copy");
      field.remove();
      if (!copied) throw new Error("not copied");
    };
    Object.defineProperty(navigator, "clipboard", { value: { writeText } });
  }

  const text = (key) => window.gradio_config.i18n_translations[language][key];

  // What Gradio says in English only, mostly to users of a screen reader.
  const own = (said) => {
    const texts = window.gradio_config.i18n_translations[language];
    const [, start, name] = said.trim().match(/^(number input for|range slider for) (.*)$/) || [];
    return name ? texts[`gradio: ${start} {name}`].replace("{name}", name) : texts[`gradio: ${said.trim()}`];
  };
  const translate = (element) => {
    for (const name of ["aria-label", "title"]) {
      const said = element.getAttribute(name);
      const wanted = said && own(said);
      if (wanted && wanted !== said) element.setAttribute(name, wanted);
    }
    if (element.matches(".toast-title") && own(element.textContent)) element.textContent = own(element.textContent);
  };
  if (language !== "en")
    new MutationObserver((changes) => {
      for (const { target, type, addedNodes } of changes) {
        if (type === "attributes") translate(target);
        for (const node of addedNodes)
          if (node instanceof Element)
            for (const element of [node, ...node.querySelectorAll("[aria-label], [title], .toast-title")]) translate(element);
      }
    }).observe(document, { subtree: true, childList: true, attributeFilter: ["aria-label", "title"] });

  const note = (key) => {
    document.getElementById("page-note")?.remove();
    if (!key) return;
    const element = document.createElement("div");
    element.id = "page-note";
    element.setAttribute("role", "status");
    element.textContent = text(key);
    document.body.append(element);
  };

  // Video: pictures at even distances, taken here, so that no video is sent and the server decodes none.
  const happens = (target, name, within = 15000) =>
    new Promise((resolve, reject) => {
      target.addEventListener(name, resolve, { once: true });
      target.addEventListener("error", () => reject(new Error("unreadable")), { once: true });
      setTimeout(() => reject(new Error("too slow")), within);
    });

  const lengthOf = async (video) => {
    if (Number.isFinite(video.duration)) return video.duration;
    video.currentTime = Number.MAX_SAFE_INTEGER; // a recording without its length in front: its end tells it
    const end = Date.now() + 10000;
    while (!Number.isFinite(video.duration) && Date.now() < end) await new Promise((resolve) => setTimeout(resolve, 50));
    return Number.isFinite(video.duration) ? video.duration : video.currentTime;
  };

  const picturesOf = async (file, count) => {
    const video = document.createElement("video");
    video.muted = true;
    video.playsInline = true;
    video.preload = "auto";
    video.src = URL.createObjectURL(file);
    try {
      await happens(video, "loadeddata");
      const length = await lengthOf(video);
      const scale = Math.min(1, Math.sqrt(given.pixels / (video.videoWidth * video.videoHeight)));
      const canvas = document.createElement("canvas");
      canvas.width = Math.max(1, Math.floor(video.videoWidth * scale));
      canvas.height = Math.max(1, Math.floor(video.videoHeight * scale));
      const pictures = [];
      for (let at = 0; at < count; at++) {
        const second = (length * (at + 0.5)) / count;
        const seeked = happens(video, "seeked");
        video.currentTime = second;
        await seeked;
        canvas.getContext("2d").drawImage(video, 0, 0, canvas.width, canvas.height);
        const blob = await new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", 0.9));
        pictures.push(new File([blob], `frame-${Math.round(second * 1000)}ms.jpg`, { type: "image/jpeg" }));
      }
      return pictures;
    } finally {
      URL.revokeObjectURL(video.src);
    }
  };

  const isVideo = (file) => file.type.startsWith("video/");
  const taken = new WeakSet(); // events made here, which Gradio is to have as they are

  const takePictures = async (files) => {
    const others = files.filter((file) => !isVideo(file));
    const videos = files.filter(isVideo);
    const attached = document.querySelectorAll("#box .thumbnail-item").length;
    const room = Math.max(1, Math.floor((given.frames - attached - others.length) / videos.length));
    note("video_reading");
    try {
      const pictures = [...others];
      for (const video of videos) pictures.push(...(await picturesOf(video, room)));
      const transfer = new DataTransfer();
      for (const picture of pictures) transfer.items.add(picture);
      const input = document.querySelector("#box input[type=file]");
      input.files = transfer.files;
      const event = new Event("change", { bubbles: true });
      taken.add(event);
      input.dispatchEvent(event);
      note();
    } catch {
      note("video_unreadable");
      setTimeout(note, 6000);
    }
  };

  const intercept = (event, files) => {
    if (taken.has(event) || !event.target.closest?.("#box") || ![...files].some(isVideo)) return;
    event.preventDefault();
    event.stopImmediatePropagation();
    takePictures([...files]);
  };
  document.addEventListener("change", (event) => event.target.type === "file" && intercept(event, event.target.files), true);
  document.addEventListener("drop", (event) => intercept(event, event.dataTransfer?.files || []), true);
  document.addEventListener("paste", (event) => intercept(event, event.clipboardData?.files || []), true);

  window.chatPage = {
    language,
    languages: given.languages,
    text,
    setLanguage: (name) => {
      document.cookie = `${given.cookie}=${encodeURIComponent(name)}; path=/; max-age=31536000; samesite=lax`;
      location.reload();
    },
    theme,
    setTheme: (name) => {
      localStorage.setItem("theme", name);
      changed();
    },
    closeSidebarOnPhone: () => {
      if (window.innerWidth < 768) document.querySelector("#sidebar.open .toggle-button")?.click();
    },
  };
})();
