/* An event that the page cancels, as Stop does, has ended for the page at that moment: nothing of it is painted any more.

   Gradio's browser part (6.31) asks the server to end the event, goes on painting what comes until the server has answered, which takes
   as long as the step that is being computed, and then forgets whichever event of that function is the newest: one that was
   started meanwhile cannot be stopped. An event whose id the server has not told yet is asked for as `null`: nothing ends. And the
   server's last word on a cancelled event has no data, which is read as a failure: "Error" stands over a text that was stopped on purpose.
   So it is told here that the event has ended, with data for nothing, and the server hears of it behind. The server ends all events
   of the function that the visitor has by then, so the next of them waits until it has answered. */
(() => {
  "use strict";
  const ask = window.fetch.bind(window), encoder = new TextEncoder();
  const HEAD = /^data: \{"msg":"(\w+)","event_id":"?(\w+)/;
  const newest = new Map(), ending = new Map(); // by function: the event of it that was asked for last; until its cancelled ones have ended
  const told = new Set(), cancelled = new Set(); // ids: given by the server, to events that run; of events that have ended for the page
  let joining = 0, early = [], unsaid = [], say = null; // early: messages of events whose id is still on its way; say: to the open stream

  function pass(message) {
    const [, kind, id] = HEAD.exec(message) || [];
    if (kind === "close_stream") say = null;
    if (cancelled.has(id)) {
      if (kind === "process_completed") cancelled.delete(id);
    } else if (joining && id && id !== "null" && !told.has(id)) {
      early.push(message);
    } else {
      if (kind === "process_completed") told.delete(id);
      return message + "\n\n";
    }
    return "";
  }

  function tell(text) {
    if (text && say) say(text);
    else if (text) unsaid.push(text);
  }

  async function join(address, options) {
    const event = { id: null, end: null }, which = JSON.parse(options.body).fn_index;
    newest.set(which, event);
    while (ending.has(which)) await ending.get(which);
    joining++;
    try {
      const answer = await ask(address, options);
      event.id = (await answer.clone().json()).event_id;
      if (event.id) told.add(event.id);
      if (event.id && event.end) event.end();
      return answer;
    } finally {
      joining--;
      tell(early.splice(0).map(pass).join(""));
    }
  }

  function cancel(address, options) {
    const body = JSON.parse(options.body), event = newest.get(body.fn_index);
    const end = (id) => {
      if (cancelled.has(id)) return;
      cancelled.add(id);
      told.delete(id);
      tell(`data: ${JSON.stringify({ msg: "process_completed", event_id: id, output: { data: [] }, success: true })}\n\n`);
      const heard = ask(address, { ...options, body: JSON.stringify({ ...body, event_id: id }) }).catch(() => {}); // no server: ended too
      const all = Promise.all([heard, ending.get(body.fn_index)]).then(() => ending.get(body.fn_index) === all && ending.delete(body.fn_index));
      ending.set(body.fn_index, all);
    };
    if (body.event_id) end(body.event_id);
    else if (event && event.id) end(event.id);
    else if (event) event.end = () => end(event.id);
    return new Response("{}");
  }

  async function messages(request) {
    const answer = await ask(request), decoder = new TextDecoder();
    if (!answer.ok) return answer;
    let rest = "";
    const only = new TransformStream({
      start(stream) {
        say = (text) => stream.enqueue(encoder.encode(text));
        tell(unsaid.splice(0).join(""));
      },
      transform(bytes, stream) {
        const parts = (rest + decoder.decode(bytes, { stream: true })).split("\n\n");
        rest = parts.pop();
        stream.enqueue(encoder.encode(parts.map(pass).join("")));
      },
    });
    return new Response(answer.body.pipeThrough(only), answer);
  }

  window.fetch = async (input, options) => {
    const path = new URL(input.url || input, location.href).pathname.split("/gradio_api").pop();
    if (path === "/queue/data") return messages(input);
    if (path === "/queue/join") return join(input, options);
    if (path === "/cancel") return cancel(input, options);
    if (path === "/reset") return new Response("{}"); // the server has no use for it
    return ask(input, options);
  };
})();
