const big = document.getElementById("big");
document.addEventListener("click", (event) => {
  if (event.target.closest("dialog")) return big.close();
  const card = event.target.closest(".pic") && event.target.closest(".card");
  if (card) { big.replaceChildren(card.cloneNode(true)); big.showModal(); }
});
