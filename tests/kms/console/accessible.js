// Returns what keeps a page from people who see, hear or point differently; axe-core has the same rules.
() => {
  const found = [];
  const lum = c => { const [r, g, b] = c.map(v => { v /= 255; return v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4; });
    return .2126 * r + .7152 * g + .0722 * b; };
  const rgb = text => { const n = text.match(/[\d.]+/g).map(Number); return n.length > 3 && n[3] === 0 ? null : n.slice(0, 3); };
  const behind = e => { for (; e; e = e.parentElement) { const c = rgb(getComputedStyle(e).backgroundColor); if (c) return c; } return [255, 255, 255]; };
  for (const e of document.querySelectorAll('body *')) {
    const own = [...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim());
    if (!own || !e.getClientRects().length || e.disabled || e.closest('svg')) continue;
    const a = lum(rgb(getComputedStyle(e).color)), b = lum(behind(e));
    const ratio = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
    if (ratio < 4.5) found.push(`contrast ${ratio.toFixed(1)}: ${e.outerHTML.slice(0, 80)}`);
  }
  for (const e of document.querySelectorAll('input:not([type=hidden]), select, textarea'))
    if (!(e.labels && e.labels.length) && !e.getAttribute('aria-label')) found.push(`no label: ${e.outerHTML.slice(0, 80)}`);
  for (const e of document.querySelectorAll('button, a'))
    if (!e.textContent.trim() && !e.getAttribute('aria-label')) found.push(`no name: ${e.outerHTML.slice(0, 80)}`);
  const ids = [...document.querySelectorAll('[id]')].map(e => e.id);
  if (new Set(ids).size !== ids.length) found.push('an id twice');
  const levels = [...document.querySelectorAll('h1, h2, h3')].map(e => Number(e.tagName[1]));
  if (levels[0] !== 1 || levels.some((l, i) => i && l > levels[i - 1] + 1)) found.push(`headings ${levels}`);
  for (const s of ['main', 'header', 'head > title']) if (document.querySelectorAll(s).length !== 1) found.push(`not one ${s}`);
  if (!document.documentElement.lang) found.push('no language');
  for (const t of document.querySelectorAll('table')) if (!t.caption || !t.querySelector('th[scope]')) found.push('a table without words');
  if (document.documentElement.scrollWidth > innerWidth) found.push('wider than the window');
  return found;
}
