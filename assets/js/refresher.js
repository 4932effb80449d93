/* Asks for a tab. Values: {event, serial}. */
let asked = null;
function draw() {
  const value = Glassbox.snapshot(props);
  if (!value || value.serial === asked) return;
  asked = value.serial;
  element.dataset.painted = value.id;
  trigger(value.event, {});
}
watch('value', draw);
draw();
